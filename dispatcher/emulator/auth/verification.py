"""Verification of signatures as AWS demands it; pure."""

import hmac
import re
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from dispatcher.emulator.auth.caller import CallerIdentity
from dispatcher.emulator.auth.refusals import (
    SKEW_SECONDS,
    ComputedSignature,
    SignatureRefusals,
    basic_time,
)
from dispatcher.emulator.auth.signature import (
    ALGORITHM,
    UNSIGNED_PAYLOAD,
    Scope,
    canonical_request,
    signature,
    signing_key,
    string_to_sign,
)
from dispatcher.emulator.http.message import HttpRequest, Refusal, whole_number

EXPIRES_SECONDS: Final = 7 * 24 * 3600
"""Longest life of a presigned URL (S3 API Reference, X-Amz-Expires)."""

_UNSIGNED: Final = {UNSIGNED_PAYLOAD, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_TIME: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")


@dataclass(slots=True, frozen=True)
class Account:
    """The account whose signatures are valid.

    Attributes:
        key_id: The one access key id.
        secret: Its secret.
        region: The one region.
    """

    key_id: str
    secret: str
    region: str


def verify(
    request: HttpRequest,
    caller: CallerIdentity,
    account: Account,
    *,
    service: str,
    refusals: SignatureRefusals,
    now: float,
    body_sha256: str,
) -> None:
    """Check a signature and everything that it must cover.

    Args:
        request: The request.
        caller: The claims of its signature.
        account: The account that must have signed it.
        service: The service that it is for, as signatures name it.
        refusals: The refusals of this service.
        now: The service's time in seconds since the epoch.
        body_sha256: Of the body, in hexadecimal.

    Raises:
        Refusal: The signature is not valid.
    """
    s3 = service == "s3"
    if caller.service != service:
        raise refusals.wrong_service(caller.service, service)
    if caller.region != account.region:
        raise refusals.wrong_region(caller.region, account.region)
    if caller.key != account.key_id:
        raise refusals.unknown_key(caller.key)
    sent = _check_time(request, caller, refusals, now)
    signed = caller.signed_headers.split(";")
    unsigned = [name for name in _required_headers(request, caller) if name not in signed]
    if unsigned:
        raise refusals.unsigned_headers(unsigned)
    if not request.headers.keys() >= set(signed):
        # A header that was signed has gone, or was never sent.
        raise refusals.wrong_signature()
    payload = _payload(request, caller) if s3 else body_sha256
    canonical = canonical_request(
        request.method, request.target, request.headers, signed, payload, s3=s3
    )
    scope = Scope(caller.date, caller.region, caller.service)
    text = string_to_sign(canonical, sent, scope)
    right = signature(signing_key(account.secret, scope), text)
    if not hmac.compare_digest(right, caller.signature):
        raise refusals.wrong_signature(
            ComputedSignature(
                key=caller.key,
                signature=caller.signature,
                canonical_request=canonical,
                string_to_sign=text,
            )
        )
    _check_body(request, body_sha256, payload=payload, s3=s3, refusals=refusals)


def _check_time(
    request: HttpRequest, caller: CallerIdentity, refusals: SignatureRefusals, now: float
) -> str:
    """Return the time of the signature, which must be neither too old nor in the future."""
    sent = _sent(request, caller)
    if sent is None:
        raise refusals.no_time()
    if sent[:8] != caller.date:
        raise refusals.wrong_day(caller.date, sent)
    seconds = _seconds(sent)
    if seconds is None:
        raise refusals.no_time()
    life = _life(request) if caller.presigned else SKEW_SECONDS
    if now > seconds + life:
        raise refusals.too_late(sent, now, presigned=caller.presigned)
    if now < seconds - SKEW_SECONDS:
        raise refusals.too_early(sent, now, presigned=caller.presigned)
    return sent


def _sent(request: HttpRequest, caller: CallerIdentity) -> str | None:
    if caller.presigned:
        sent = request.query.get("X-Amz-Date", "")
    elif "x-amz-date" in request.headers:
        sent = request.headers["x-amz-date"]
    else:
        try:
            date = parsedate_to_datetime(request.headers.get("date", ""))
        except (ValueError, OverflowError):  # the latter: as of a year of twenty digits
            return None
        sent = basic_time(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
    return sent if _TIME.fullmatch(sent) else None


def _seconds(sent: str) -> int | None:
    try:
        return timegm(datetime.strptime(sent, "%Y%m%dT%H%M%S%z").utctimetuple())
    except ValueError:  # as of a 13th month
        return None


def _life(request: HttpRequest) -> int:
    query = request.query
    seconds = whole_number(query.get("X-Amz-Expires", ""))
    if query.get("X-Amz-Algorithm") != ALGORITHM or seconds is None or seconds > EXPIRES_SECONDS:
        text = "Query-string authentication needs a right X-Amz-Algorithm and X-Amz-Expires."
        raise Refusal(400, "AuthorizationQueryParametersError", text)
    return seconds


def _required_headers(request: HttpRequest, caller: CallerIdentity) -> Iterator[str]:
    """Yield the names of the headers that must be signed."""
    yield "host"
    for name in request.headers:
        # The maker of a presigned URL need not know the type of the content to come.
        if name.startswith("x-amz-") or (name == "content-type" and not caller.presigned):
            yield name


def _payload(request: HttpRequest, caller: CallerIdentity) -> str:
    """Return what S3 signs in place of the body's hash: the value that the client names."""
    named = request.headers.get("x-amz-content-sha256")
    if named is None:
        if caller.presigned:
            return UNSIGNED_PAYLOAD
        text = "Missing required header for this request: x-amz-content-sha256"
        raise Refusal(400, "InvalidRequest", text)
    if named in _UNSIGNED or _SHA256.fullmatch(named):
        return named
    if named.startswith("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
        text = "The emulator does not verify the signatures of chunks."
        raise Refusal(501, "NotImplemented", text)
    text = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, or a valid sha256 value."
    raise Refusal(400, "InvalidArgument", text)


def _check_body(
    request: HttpRequest, body_sha256: str, *, payload: str, s3: bool, refusals: SignatureRefusals
) -> None:
    named = payload if s3 else request.headers.get("x-amz-content-sha256", body_sha256)
    if named == body_sha256 or (s3 and named in _UNSIGNED):
        return
    if not s3:
        raise refusals.wrong_signature()
    raise Refusal(
        400,
        "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
        {"ClientComputedContentSHA256": named, "S3ComputedContentSHA256": body_sha256},
    )
