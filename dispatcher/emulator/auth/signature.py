"""AWS Signature Version 4, computed by the verifying side; pure functions.

Sources: "Create a signed AWS API request" (IAM User Guide) and "Authenticating Requests: Using the
Authorization Header" and "... Using Query Parameters" (S3 API Reference). Written from these
alone and not from a client's code: a mistake that both sides share would not be seen.

All texts are as they came over the wire, one character a byte (latin-1).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
SIGNATURE_PARAMETER: Final = "X-Amz-Signature"

_BLANKS: Final = re.compile(r"[ \t]+")


@dataclass(slots=True, frozen=True)
class Scope:
    """The credential scope that a signing key is valid for.

    Attributes:
        date: ``YYYYMMDD`` in UTC.
        region: AWS region.
        service: As signatures name it.
    """

    date: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def canonical_path(path: str, *, s3: bool) -> str:
    """Return the canonical URI of a path.

    Args:
        path: As sent, percent-encoded.
        s3: S3 decodes a path and encodes each byte but the unreserved ones. All others remove dot
            segments and empty segments, and encode a second time what is encoded already.
    """
    sent = path.encode("latin-1")
    if s3:
        return quote(unquote_to_bytes(sent), safe="/")
    kept: list[bytes] = []
    for segment in sent.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in {b"", b"."}:
            kept.append(segment)
    end = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return "/" + quote(b"/".join(kept), safe="/") + end


def canonical_query(query: str) -> str:
    """Return the parameters of a query without its signature, encoded again and sorted."""
    if not query:
        return ""
    pairs = (piece.partition("=") for piece in query.split("&") if piece)
    encoded = sorted((_encoded_again(name), _encoded_again(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded if name != SIGNATURE_PARAMETER)


def _encoded_again(text: str) -> str:
    # A plus sign is a blank, because that is how the services read it.
    return quote(unquote_to_bytes(text.replace("+", " ").encode("latin-1")), safe="")


def canonical_value(value: str) -> str:
    """Return a header's value without blanks around it and with single ones inside."""
    return _BLANKS.sub(" ", value).strip(" ")


def canonical_request(
    method: str,
    target: str,
    headers: Mapping[str, str],
    signed: Sequence[str],
    payload: str,
    *,
    s3: bool,
) -> str:
    """Return the text whose hash is signed.

    Args:
        method: ``GET``, ``POST``...
        target: Path and query as sent.
        headers: By lower-case name; values of repeated headers joined by a comma.
        signed: Names of the signed headers, all of which are there.
        payload: Hash of the body in hexadecimal, or the value that S3 takes in its place.
        s3: Whether the path is canonical as S3 wants it.
    """
    path, _, query = target.partition("?")
    names = sorted(signed)
    lines = [method, canonical_path(path, s3=s3), canonical_query(query)]
    lines += [f"{name}:{canonical_value(headers[name])}" for name in names]
    lines += ["", ";".join(names), payload]
    return "\n".join(lines)


def string_to_sign(request: str, time: str, scope: Scope) -> str:
    """Return the text that is signed.

    Args:
        request: The canonical request.
        time: ``YYYYMMDDTHHMMSSZ``.
        scope: Of the signing key.
    """
    digest = hashlib.sha256(request.encode("latin-1")).hexdigest()
    return f"{ALGORITHM}\n{time}\n{scope}\n{digest}"


@lru_cache(maxsize=64)
def signing_key(secret: str, scope: Scope) -> bytes:
    """Return the key that a secret gives for a scope; the last ones are kept."""
    key = f"AWS4{secret}".encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(key: bytes, text: str) -> str:
    """Return the signature of a string to sign, 64 hexadecimal digits."""
    return hmac.digest(key, text.encode(), "sha256").hex()
