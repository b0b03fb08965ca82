"""Verification of a signature and of all that it must cover."""

from calendar import timegm
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.emulator.auth.caller import sha256_of
from dispatcher.emulator.auth.signature import (
    Scope,
)
from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import HttpRequest
from tests.emulator.auth.requests import DATED, SENT, by_hand, presigned, refusal_of
from tests.emulator.signing import sign

NOW = timegm((2024, 2, 29, 12, 0, 0))


def code(request: HttpRequest, service: str, *, now: float | None = None) -> str:
    refusal = refusal_of(request, service, now=now)
    return "" if refusal is None else f"{refusal.status} {refusal.code}"


S3_DATED = {**DATED, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["s3", "sqs", "sagemaker", "sns"]),
    st.text(st.sampled_from("ab/ ~*'()+%&=;:@,!$üß€"), max_size=12),
    st.lists(st.tuples(st.text("ab+ %~é", min_size=1), st.text("ab+ %~/=&")), max_size=3),
    st.binary(max_size=20),
    st.text("ab  ,\"'", max_size=10),
)
def test_signature_of_botocore_is_valid(
    service: str, key: str, query: list[tuple[str, str]], body: bytes, value: str
) -> None:
    target = "/" + quote(key, safe="/~")
    if query:
        target += "?" + "&".join(
            f"{quote(name, safe='-_.~')}={quote(text, safe='-_.~')}" for name, text in query
        )
    signed = sign(service, "POST", target, {"x-amz-meta-a": value, "x-b": "c"}, body)
    assert refusal_of(signed.request(), service) is None


@pytest.mark.parametrize(
    ("service", "wrong_secret", "wrong_key"),
    [
        ("s3", "403 SignatureDoesNotMatch", "403 InvalidAccessKeyId"),
        ("sqs", "403 InvalidSignatureException", "403 UnrecognizedClientException"),
    ],
)
def test_another_identity_is_refused(service: str, wrong_secret: str, wrong_key: str) -> None:
    assert code(sign(service, "GET", "/", secret="x").request(), service) == wrong_secret
    assert code(sign(service, "GET", "/", key="x").request(), service) == wrong_key


@pytest.mark.parametrize("service", ["s3", "sqs"])
@pytest.mark.parametrize("away", [-901, -900, 0, 900, 901])
def test_fifteen_minutes_are_the_most(service: str, away: int) -> None:
    refusal = refusal_of(
        by_hand(service, S3_DATED if service == "s3" else DATED), service, now=NOW + away
    )
    if abs(away) <= 900:
        assert refusal is None
        return
    assert refusal is not None
    assert refusal.status == 403
    if service == "s3":
        assert refusal.code == "RequestTimeTooSkewed"
        assert refusal.details["RequestTime"] == SENT
        assert refusal.details["MaxAllowedSkewMilliseconds"] == "900000"
        return
    assert refusal.code == "InvalidSignatureException"
    assert refusal.message == (
        "Signature expired: 20240229T120000Z is now earlier than 20240229T120001Z "
        "(20240229T121501Z - 15 min.)"
        if away > 0
        else "Signature not yet current: 20240229T120000Z is still later than 20240229T115959Z "
        "(20240229T114459Z + 15 min.)"
    )


@pytest.mark.parametrize(
    ("service", "scope", "expected"),
    [
        ("s3", Scope("20240229", "eu-west-1", "s3"), "400 AuthorizationHeaderMalformed"),
        ("s3", Scope("20240229", "us-east-1", "sqs"), "400 AuthorizationHeaderMalformed"),
        ("s3", Scope("20240228", "us-east-1", "s3"), "400 AuthorizationHeaderMalformed"),
        ("sqs", Scope("20240229", "eu-west-1", "sqs"), "403 InvalidSignatureException"),
        ("sqs", Scope("20240229", "us-east-1", "s3"), "403 InvalidSignatureException"),
        ("sqs", Scope("20240228", "us-east-1", "sqs"), "403 InvalidSignatureException"),
    ],
)
def test_credential_scope_must_be_right(service: str, scope: Scope, expected: str) -> None:
    headers = S3_DATED if service == "s3" else DATED
    assert code(by_hand(service, headers), service, now=NOW) == ""
    assert code(by_hand(service, headers, scope=scope), service, now=NOW) == expected


@pytest.mark.parametrize(
    ("left_out", "header"),
    [
        ("host", {}),
        ("x-amz-date", {}),
        ("content-type", {"content-type": "a/b"}),
        ("x-amz-security-token", {"x-amz-security-token": "t"}),
        ("x-amz-target", {"x-amz-target": "AmazonSQS.ListQueues"}),
        ("x-amz-meta-a", {"x-amz-meta-a": "b"}),
    ],
)
def test_headers_that_must_be_signed(left_out: str, header: dict[str, str]) -> None:
    for service, base in (("s3", S3_DATED), ("sqs", DATED)):
        headers = {**base, **header}
        assert code(by_hand(service, headers), service, now=NOW) == ""
        signed = ";".join(sorted({"host", *headers} - {left_out}))
        refusal = refusal_of(by_hand(service, headers, signed=signed), service, now=NOW)
        assert refusal is not None
        assert refusal.status == 403
        if service == "s3":
            assert refusal.details == {"HeadersNotSigned": left_out}
        else:
            assert left_out in (refusal.message or "").lower()


def test_other_headers_need_no_signature() -> None:
    headers = {**DATED, "user-agent": "a", "x-amzn-trace-id": "b", "range": "c"}
    assert code(by_hand("sqs", headers, signed="host;x-amz-date"), "sqs", now=NOW) == ""


def test_signed_header_must_be_there() -> None:
    request = by_hand("sqs", DATED, signed="host;x-amz-date;x-gone")
    assert code(request, "sqs", now=NOW) == "403 InvalidSignatureException"


@pytest.mark.parametrize("names", ["x-amz-date;host", "host;x-amz-date;x-amz-date"])
def test_order_and_number_of_signed_headers_are_signed(names: str) -> None:
    request = by_hand("sqs", DATED)
    request.headers["authorization"] = request.headers["authorization"].replace(
        "host;x-amz-date", names
    )
    # Sorted they are the same text; named twice they are not.
    assert (code(request, "sqs", now=NOW) == "") is (names == "x-amz-date;host")


@pytest.mark.parametrize(
    "sent", ["", "20240229", "20240229T1200Z", "20240229T250000Z", SENT.lower(), f"{SENT},{SENT}"]
)
def test_time_must_be_one(sent: str) -> None:
    request = by_hand("sqs", {"x-amz-date": sent}, scope=Scope("20240229", "us-east-1", "sqs"))
    assert code(request, "sqs", now=NOW) == "403 InvalidSignatureException"


@pytest.mark.parametrize(
    ("date", "good"),
    [
        ("Thu, 29 Feb 2024 12:00:00 GMT", True),
        ("Thu, 29 Feb 2024 13:00:00 +0100", True),
        ("Thu, 29 Feb 2024 12:00:01 GMT", False),
        ("Thu, 29 Feb 99999999999999999999 12:00:00 GMT", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_date_header_serves_where_there_is_no_other(date: str, good: bool) -> None:
    assert (code(by_hand("sqs", {"date": date}), "sqs", now=NOW) == "") is good


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("UNSIGNED-PAYLOAD", ""),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", ""),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "501 NotImplemented"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "501 NotImplemented"),
        ("unsigned-payload", "400 InvalidArgument"),
        ("0" * 64, "400 XAmzContentSHA256Mismatch"),
        (None, "400 InvalidRequest"),
    ],
)
def test_s3_lets_a_body_go_unsigned_if_that_is_signed(named: str | None, expected: str) -> None:
    header = {} if named is None else {"x-amz-content-sha256": named}
    assert code(by_hand("s3", {**DATED, **header}), "s3", now=NOW) == expected


@pytest.mark.parametrize(
    "named", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "0" * 64]
)
@pytest.mark.parametrize("honest", [True, False])
def test_no_other_service_takes_an_unsigned_body(named: str, honest: bool) -> None:
    headers = {**DATED, "x-amz-content-sha256": named}
    payload = sha256_of(Blob(0)) if honest else named
    request = by_hand("sqs", headers, payload=payload)
    assert code(request, "sqs", now=NOW) == "403 InvalidSignatureException"


@pytest.mark.parametrize("service", ["s3", "sqs"])
def test_another_body_is_refused(service: str) -> None:
    signed = sign(service, "POST", "/", body=b"one")
    assert code(signed.request(), service) == ""
    other = replace(signed, body=b"two").request()
    expected = (
        "400 XAmzContentSHA256Mismatch" if service == "s3" else "403 InvalidSignatureException"
    )
    assert code(other, service) == expected


@pytest.mark.parametrize(
    ("away", "expected"),
    [
        (-901, "403 AccessDenied"),
        (-900, ""),
        (0, ""),
        (3600, ""),
        (3601, "403 AccessDenied"),
    ],
)
def test_presigned_url_has_its_own_life(away: int, expected: str) -> None:
    assert code(presigned(), "s3", now=NOW + away) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"X-Amz-Expires": "604801"},
        {"X-Amz-Expires": "-1"},
        {"X-Amz-Expires": ""},
        {"X-Amz-Algorithm": "AWS3"},
    ],
)
def test_presigned_url_must_be_whole(changes: dict[str, str]) -> None:
    request = presigned(**changes)
    assert code(request, "s3", now=NOW) == "400 AuthorizationQueryParametersError"


def test_presigned_url_takes_a_type_but_no_other_header_that_must_be_signed() -> None:
    request = presigned()
    request.headers["content-type"] = "a/b"
    assert code(request, "s3", now=NOW) == ""
    request.headers["x-amz-meta-a"] = "b"
    assert code(request, "s3", now=NOW) == "403 AccessDenied"


def test_presigned_url_holds_for_its_own_query() -> None:
    request = presigned()
    request.target += "&versionId=1"
    assert code(request, "s3", now=NOW) == "403 SignatureDoesNotMatch"
