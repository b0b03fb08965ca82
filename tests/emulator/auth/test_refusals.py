"""Refusals of signatures."""

from dispatcher.emulator.auth.refusals import S3SignatureRefusals
from tests.emulator.auth.requests import COMMON, refusal_of
from tests.emulator.signing import sign


def test_refusal_shows_the_text_to_sign() -> None:
    refusal = refusal_of(sign("s3", "GET", "/b/a b", secret="x").request(), "s3")
    assert refusal is not None
    assert refusal.details["CanonicalRequest"].startswith("GET\n/b/a%20b\n\nhost:localhost\n")
    assert refusal.details["StringToSign"].startswith("AWS4-HMAC-SHA256\n")
    refusal = refusal_of(sign("sqs", "GET", "/", secret="x").request(), "sqs")
    assert refusal is not None
    assert "The Canonical String for this request should have been\n'GET\n/\n" in str(refusal)


def test_each_refusal_is_an_exception_of_its_own() -> None:
    for signing in (COMMON, S3SignatureRefusals()):
        assert signing.wrong_signature() is not signing.wrong_signature()
