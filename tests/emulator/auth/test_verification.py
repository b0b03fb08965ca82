"""What a signature must cover, and how each service refuses one that does not hold."""

import base64
import time
import zlib
from calendar import timegm
from dataclasses import replace
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.emulator.auth.caller import CallerIdentity, meant_service, read_caller, sha256_of
from dispatcher.emulator.auth.refusals import CommonSigning, S3Signing, Signing
from dispatcher.emulator.auth.signature import (
    Scope,
    canonical_request,
    signature,
    signing_key,
    string_to_sign,
)
from dispatcher.emulator.auth.verification import Account, verify
from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import HttpRequest, Refusal
from tests.emulator.signing import Signed, sign

ACCOUNT = Account("emulator", "emulator", "us-east-1")
COMMON = CommonSigning()
SIGNINGS: dict[str, Signing] = {"s3": S3Signing()}
SENT = "20240229T120000Z"
NOW = timegm((2024, 2, 29, 12, 0, 0))


def judge(request: HttpRequest, service: str, *, now: float | None = None) -> Refusal | None:
    """Return the refusal of a request, or None where it is well signed."""
    caller = read_caller(request)
    assert caller is not None
    try:
        verify(
            request,
            caller,
            ACCOUNT,
            service=service,
            signing=SIGNINGS.get(service, COMMON),
            now=time.time() if now is None else now,
            body_sha256=sha256_of(request.body),
        )
    except Refusal as refusal:
        return refusal
    return None


def code(request: HttpRequest, service: str, *, now: float | None = None) -> str:
    refusal = judge(request, service, now=now)
    return "" if refusal is None else f"{refusal.status} {refusal.code}"


def by_hand(
    service: str,
    headers: dict[str, str],
    *,
    signed: str | None = None,
    sent: str = SENT,
    scope: Scope | None = None,
    method: str = "POST",
    target: str = "/",
    payload: str | None = None,
) -> HttpRequest:
    """Sign with the right secret what no SDK would sign."""
    headers = {"host": "localhost", **headers}
    names = ";".join(sorted(headers)) if signed is None else signed
    scope = scope or Scope(sent[:8], "us-east-1", service)
    request = HttpRequest(method, target, headers, Blob(0))
    canonical = canonical_request(
        method,
        target,
        {name: headers.get(name, "") for name in names.split(";")},
        names.split(";"),
        payload or headers.get("x-amz-content-sha256") or sha256_of(request.body),
        s3=service == "s3",
    )
    right = signature(signing_key("emulator", scope), string_to_sign(canonical, sent, scope))
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential=emulator/{scope}, SignedHeaders={names}, Signature={right}"
    )
    return request


DATED = {"x-amz-date": SENT}
S3_DATED = {**DATED, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["s3", "sqs", "sagemaker", "sns"]),
    st.text(st.sampled_from("ab/ ~*'()+%&=;:@,!$üß€"), max_size=12),
    st.lists(st.tuples(st.text("ab+ %~é", min_size=1), st.text("ab+ %~/=&")), max_size=3),
    st.binary(max_size=20),
    st.text("ab  ,\"'", max_size=10),
)
def test_what_botocore_signs_holds(
    service: str, key: str, query: list[tuple[str, str]], body: bytes, value: str
) -> None:
    target = "/" + quote(key, safe="/~")
    if query:
        target += "?" + "&".join(
            f"{quote(name, safe='-_.~')}={quote(text, safe='-_.~')}" for name, text in query
        )
    signed = sign(service, "POST", target, {"x-amz-meta-a": value, "x-b": "c"}, body)
    assert judge(signed.request(), service) is None


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
    refusal = judge(
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
        refusal = judge(by_hand(service, headers, signed=signed), service, now=NOW)
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
def test_nobody_else_takes_an_unsigned_body(named: str, honest: bool) -> None:
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


def test_refusal_shows_what_should_have_been_signed() -> None:
    refusal = judge(sign("s3", "GET", "/b/a b", secret="x").request(), "s3")
    assert refusal is not None
    assert refusal.details["CanonicalRequest"].startswith("GET\n/b/a%20b\n\nhost:localhost\n")
    assert refusal.details["StringToSign"].startswith("AWS4-HMAC-SHA256\n")
    refusal = judge(sign("sqs", "GET", "/", secret="x").request(), "sqs")
    assert refusal is not None
    assert "The Canonical String for this request should have been\n'GET\n/\n" in str(refusal)


def test_raised_refusals_are_made_anew() -> None:
    for signing in (COMMON, S3Signing()):
        assert signing.wrong_signature() is not signing.wrong_signature()


# Presigned URLs


def presigned(**changes: str) -> HttpRequest:
    """Return a presigned GET that is good for an hour from SENT."""
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "emulator%2F20240229%2Fus-east-1%2Fs3%2Faws4_request",
        "X-Amz-Date": SENT,
        "X-Amz-Expires": "3600",
        "X-Amz-SignedHeaders": "host",
        **changes,
    }
    target = "/b/k?" + "&".join(f"{name}={value}" for name, value in query.items())
    scope = Scope("20240229", "us-east-1", "s3")
    headers = {"host": "localhost"}
    canonical = canonical_request("GET", target, headers, ["host"], "UNSIGNED-PAYLOAD", s3=True)
    text = string_to_sign(canonical, SENT, scope)
    right = signature(signing_key("emulator", scope), text)
    return HttpRequest("GET", f"{target}&X-Amz-Signature={right}", headers, Blob(0))


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


# Which service


@pytest.mark.parametrize(
    ("method", "target", "headers", "service"),
    [
        ("PUT", "/b/k", {"content-type": "application/x-www-form-urlencoded"}, "s3"),
        ("GET", "/endpoints/k", {}, "s3"),
        ("POST", "/endpoints/k?uploads", {}, None),
        ("POST", "/endpoints/e/async-invocations", {}, "sagemaker"),
        ("POST", "/", {"x-amz-target": "SageMaker.DescribeEndpoint"}, "sagemaker"),
        ("POST", "/", {"x-amz-target": "AmazonSQS.ListQueues"}, "sqs"),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded; a=b"}, "sns"),
        ("POST", "/", {}, None),
    ],
)
def test_service_is_told_by_its_protocol(
    method: str, target: str, headers: dict[str, str], service: str | None
) -> None:
    assert meant_service(HttpRequest(method, target, headers, Blob(0))) == service


def test_caller_is_read_from_either_place() -> None:
    scope = ("emulator", "20240229", "us-east-1")
    digits = "0" * 64
    request = by_hand("sqs", DATED)
    request.headers["authorization"] = (
        "AWS4-HMAC-SHA256 Credential=emulator/20240229/us-east-1/sqs/aws4_request,"
        f"SignedHeaders=host;x-amz-meta-a!b,Signature={digits}"
    )
    assert read_caller(request) == CallerIdentity(*scope, "sqs", "host;x-amz-meta-a!b", digits)
    caller = read_caller(presigned())
    assert caller is not None
    assert replace(caller, signature=digits) == CallerIdentity(
        *scope, "s3", "host", digits, presigned=True
    )


# Over the wire


@pytest.fixture
def quick(quick: Any) -> Any:
    return quick.model_copy(update={"verify_signatures": True})


async def ask(wire: Any, signed: Signed) -> Any:
    wire.writer.write(signed.raw())
    return await wire.reply(head_only=signed.method == "HEAD")


async def test_service_is_asked_whatever_the_signature_says(wire: Any) -> None:
    reply = await ask(wire, sign("s3", "POST", "/", {"X-Amz-Target": "AmazonSQS.ListQueues"}))
    assert reply.status == 403
    assert b"Credential should be scoped to correct service: 'sqs'." in reply.body
    reply = await ask(wire, sign("sqs", "GET", "/emulator-input?list-type=2"))
    assert reply.status == 400
    assert b"<Code>AuthorizationHeaderMalformed</Code>" in reply.body


async def test_denied_key_is_denied_as_ever(wire: Any) -> None:
    reply = await ask(wire, sign("s3", "GET", "/emulator-input/k", key="denied"))
    assert b"<Code>AccessDenied</Code>" in reply.body


async def test_large_body_is_verified_too(wire: Any, emulator: Any) -> None:
    body = b"large" * 300_000
    signed = sign("s3", "PUT", "/emulator-input/large", body=body)
    assert (await ask(wire, signed)).status == 200
    reply = await ask(wire, replace(signed, body=b"LARGE" * 300_000))
    assert reply.status == 400
    assert b"<Code>XAmzContentSHA256Mismatch</Code>" in reply.body
    assert emulator.objects("emulator-input")["large"] == body


async def test_streamed_upload_brings_checksums_and_nothing_else(wire: Any) -> None:
    crc = base64.b64encode(zlib.crc32(b"body").to_bytes(4, "big"))
    signed = sign(
        "s3",
        "PUT",
        "/emulator-input/k",
        {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-meta-mine": "signed"},
        b"4\r\nbody\r\n0\r\nx-amz-checksum-crc32: " + crc + b"\r\n"
        b"x-amz-meta-mine: trailer\r\nx-amz-meta-more: trailer\r\nif-none-match: *\r\n\r\n",
        payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    )
    reply = await ask(wire, signed)
    assert reply.status == 200, reply.body
    assert reply.headers["x-amz-checksum-crc32"] == crc.decode().lower()
    reply = await ask(wire, sign("s3", "HEAD", "/emulator-input/k"))
    assert reply.headers["x-amz-meta-mine"] == "signed"
    assert "x-amz-meta-more" not in reply.headers


async def test_repeated_headers_are_signed_as_one(wire: Any) -> None:
    signed = sign("s3", "PUT", "/emulator-input/k", {"x-amz-meta-a": "1,2  3"})
    del signed.headers["x-amz-meta-a"]
    signed.headers |= {"X-Amz-Meta-A": "  1", "x-amz-meta-A": "2    3 "}
    assert (await ask(wire, signed)).status == 200
    signed.headers["x-amz-meta-A"] = "3"
    assert (await ask(wire, signed)).status == 403


@pytest.mark.parametrize("status", [200, 400])
async def test_every_answer_has_a_date(wire: Any, status: int) -> None:
    before = int(time.time())
    if status == 200:
        reply = await ask(wire, sign("s3", "GET", "/"))
    else:
        wire.writer.write(b"NONSENSE\r\n\r\n")
        reply = await wire.reply()
    assert reply.status == status
    times = range(before, int(time.time()) + 1)
    assert reply.headers["date"] in {formatdate(t, usegmt=True).lower() for t in times}
