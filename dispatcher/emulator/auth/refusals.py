"""Refusals of signatures: S3's own, and those that all other services have in common."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dispatcher.emulator.http.message import Refusal

SKEW_SECONDS: Final = 15 * 60
"""Furthest that a request's time may lie from the service's (S3 API Reference, Common Errors)."""

_WRONG: Final = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your {} and signing method."
)


@dataclass(slots=True, frozen=True, kw_only=True)
class ComputedSignature:
    """The texts that the service signed; they show a client's author where the two differ.

    Attributes:
        key: The access key id.
        signature: The signature that was sent.
        canonical_request: As computed from the request.
        string_to_sign: As computed from the request.
    """

    key: str
    signature: str
    canonical_request: str
    string_to_sign: str


class SignatureRefusals(Protocol):
    """The refusals of one service.

    Each call makes a new one, because a raised exception collects frames.
    """

    def unknown_key(self, key: str) -> Refusal:
        """Refuse an access key id that does not exist."""

    def wrong_region(self, given: str, right: str) -> Refusal:
        """Refuse a credential scope of another region."""

    def wrong_service(self, given: str, right: str) -> Refusal:
        """Refuse a credential scope of another service."""

    def no_time(self) -> Refusal:
        """Refuse a request that does not say when it was signed."""

    def wrong_day(self, day: str, sent: str) -> Refusal:
        """Refuse a credential scope of another day than the request's time."""

    def too_late(self, sent: str, now: float, *, presigned: bool) -> Refusal:
        """Refuse a request whose time has passed."""

    def too_early(self, sent: str, now: float, *, presigned: bool) -> Refusal:
        """Refuse a request whose time has not come."""

    def unsigned_headers(self, names: Sequence[str]) -> Refusal:
        """Refuse headers that must be signed and are not."""

    def wrong_signature(self, computed: ComputedSignature | None = None) -> Refusal:
        """Refuse a wrong signature, or a wrong hash of the body."""


def basic_time(seconds: float) -> str:
    """Return a time as requests carry it, ``YYYYMMDDTHHMMSSZ``."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


class S3SignatureRefusals:
    """S3's refusals (S3 API Reference, Error Responses)."""

    def unknown_key(self, key: str) -> Refusal:
        """Return InvalidAccessKeyId."""
        text = "The AWS Access Key Id you provided does not exist in our records."
        return Refusal(403, "InvalidAccessKeyId", text, {"AWSAccessKeyId": key})

    def wrong_region(self, given: str, right: str) -> Refusal:
        """Return AuthorizationHeaderMalformed, with the region that SDKs go to then."""
        text = f"the region '{given}' is wrong; expecting '{right}'"
        return _malformed(text, {"Region": right})

    def wrong_service(self, given: str, right: str) -> Refusal:
        """Return AuthorizationHeaderMalformed."""
        return _malformed(f'incorrect service "{given}". This endpoint belongs to "{right}".')

    def no_time(self) -> Refusal:
        """Return AccessDenied."""
        text = "AWS authentication requires a valid Date or x-amz-date header"
        return Refusal(403, "AccessDenied", text)

    def wrong_day(self, day: str, sent: str) -> Refusal:
        """Return AuthorizationHeaderMalformed."""
        return _malformed(
            f'Invalid credential date "{day}". This date is not the same as X-Amz-Date: '
            f'"{sent[:8]}".'
        )

    def too_late(self, sent: str, now: float, *, presigned: bool) -> Refusal:
        """Return RequestTimeTooSkewed, or AccessDenied to a presigned URL."""
        if presigned:
            return Refusal(403, "AccessDenied", "Request has expired")
        return _skewed(sent, now)

    def too_early(self, sent: str, now: float, *, presigned: bool) -> Refusal:
        """Return RequestTimeTooSkewed, or AccessDenied to a presigned URL."""
        if presigned:
            return Refusal(403, "AccessDenied", "Request is not yet valid")
        return _skewed(sent, now)

    def unsigned_headers(self, names: Sequence[str]) -> Refusal:
        """Return AccessDenied."""
        text = "There were headers present in the request which were not signed"
        return Refusal(403, "AccessDenied", text, {"HeadersNotSigned": ", ".join(names)})

    def wrong_signature(self, computed: ComputedSignature | None = None) -> Refusal:
        """Return SignatureDoesNotMatch."""
        details = None
        if computed is not None:
            details = {
                "AWSAccessKeyId": computed.key,
                "StringToSign": computed.string_to_sign,
                "SignatureProvided": computed.signature,
                "CanonicalRequest": computed.canonical_request,
            }
        return Refusal(403, "SignatureDoesNotMatch", _WRONG.format("key"), details)


def _malformed(why: str, details: dict[str, str] | None = None) -> Refusal:
    text = f"The authorization header is malformed; {why}"
    return Refusal(400, "AuthorizationHeaderMalformed", text, details)


def _skewed(sent: str, now: float) -> Refusal:
    text = "The difference between the request time and the current time is too large."
    details = {
        "RequestTime": sent,
        "ServerTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "MaxAllowedSkewMilliseconds": str(SKEW_SECONDS * 1000),
    }
    return Refusal(403, "RequestTimeTooSkewed", text, details)


class CommonSignatureRefusals:
    """The refusals of all services but S3: one code for nearly all; the message says more.

    Args:
        wrong: Code of a signature that is not valid.
        unknown_key: Code of an access key id that does not exist.
    """

    def __init__(
        self,
        wrong: str = "InvalidSignatureException",
        unknown_key: str = "UnrecognizedClientException",
    ) -> None:
        self._wrong = wrong
        self._unknown_key = unknown_key

    def unknown_key(self, key: str) -> Refusal:
        """Return the code for that; the key is not repeated."""
        del key
        text = "The security token included in the request is invalid."
        return Refusal(403, self._unknown_key, text)

    def wrong_region(self, given: str, right: str) -> Refusal:
        """Say that the region is wrong."""
        del given, right
        return self._refusal("Credential should be scoped to a valid region. ")

    def wrong_service(self, given: str, right: str) -> Refusal:
        """Name the service."""
        del given
        return self._refusal(f"Credential should be scoped to correct service: '{right}'. ")

    def no_time(self) -> Refusal:
        """Say which headers are missing."""
        return self._refusal(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )

    def wrong_day(self, day: str, sent: str) -> Refusal:
        """Show both days."""
        return self._refusal(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{day}' != '{sent[:8]}', from '{sent}'."
        )

    def too_late(self, sent: str, now: float, *, presigned: bool) -> Refusal:
        """Show the times; a client learns the service's time from them."""
        del presigned
        bound = basic_time(now - SKEW_SECONDS)
        return self._refusal(
            f"Signature expired: {sent} is now earlier than {bound} ({basic_time(now)} - 15 min.)"
        )

    def too_early(self, sent: str, now: float, *, presigned: bool) -> Refusal:
        """Show the times; a client learns the service's time from them."""
        del presigned
        bound = basic_time(now + SKEW_SECONDS)
        return self._refusal(
            f"Signature not yet current: {sent} is still later than {bound} "
            f"({basic_time(now)} + 15 min.)"
        )

    def unsigned_headers(self, names: Sequence[str]) -> Refusal:
        """Name the first one."""
        name = "'Host' or ':authority'" if names[0] == "host" else f"'{names[0].title()}'"
        return self._refusal(f"{name} must be a 'SignedHeader' in the AWS Authorization.")

    def wrong_signature(self, computed: ComputedSignature | None = None) -> Refusal:
        """Show what should have been signed."""
        text = _WRONG.format("AWS Secret Access Key")
        text += " Consult the service documentation for details."
        if computed is not None:
            text += (
                "\n\nThe Canonical String for this request should have been\n"
                f"'{computed.canonical_request}'\n\nThe String-to-Sign should have been\n"
                f"'{computed.string_to_sign}'\n"
            )
        return self._refusal(text)

    def _refusal(self, text: str) -> Refusal:
        return Refusal(403, self._wrong, text)
