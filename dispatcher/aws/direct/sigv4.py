"""AWS Signature Version 4 in the Authorization header, equal to botocore's to the byte. Pure.

A request is signed as lines of text, ``name:value`` with names in lower case, sorted, values
without outer blanks. The same lines may go over the wire, so hot callers write them once.

Source: "Create a signed AWS API request" in the AWS documentation; held against botocore's signer
and the published test vectors by ``tests/aws/direct/test_sigv4.py``.
"""

import hashlib
import hmac
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
"""Payload hash that S3 accepts in place of one over TLS; no other service does."""

_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))

UNSIGNED_HEADERS = frozenset({"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"})
"""Headers that proxies may change, and that are therefore never signed (as in botocore)."""


@dataclass(slots=True, frozen=True)
class Keys:
    """Keys that requests are signed with."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


def canonical_headers(headers: Iterable[tuple[str, str]]) -> tuple[str, str]:
    r"""Return the lines of the headers to sign, and their names joined by ``;``.

    Each line is ``name:value\n``.

    Repeated headers become one line, their values in order and joined by commas; runs of blanks
    become one blank.
    """
    folded: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in headers:
        if (lower := name.lower()) not in UNSIGNED_HEADERS:
            folded[lower].append(canonical_value(value))
    names = sorted(folded)
    lines = "".join(f"{name}:{','.join(folded[name])}\n" for name in names)
    return lines, ";".join(names)


def canonical_value(value: str) -> str:
    """Return a header's value with its runs of blanks made one, and none around it."""
    return " ".join(value.split())


def canonical_path(path: str, service: str) -> str:
    """Return the path that is signed for a path as it is sent, which is percent-encoded.

    S3 (``s3-outposts`` and ``s3-object-lambda`` are it, too) signs it as it stands; all others
    without dot segments and empty segments, encoded again.
    """
    return path if service.startswith("s3") else _normalized(path)


@lru_cache(maxsize=256)
def _normalized(path: str) -> str:
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    end = "/" if path.endswith("/") and segments else ""
    return quote(f"/{'/'.join(segments)}{end}", safe="/~")


def canonical_query(query: str) -> str:
    """Return the query that is signed for a query as it is sent, which is percent-encoded."""
    if not query:
        return ""
    pairs = sorted((name, value) for name, _, value in (p.partition("=") for p in query.split("&")))
    return "&".join(f"{name}={value}" for name, value in pairs)


class Signer:
    """Signer for one service in one region; caches the key of the day and the text of the second.

    Attributes:
        service: The service that signatures are for.
    """

    def __init__(self, service: str, region: str) -> None:
        self.service = service
        self._region = region
        self._second = -1
        self._stamp = ""
        self._key_for: tuple[Keys, str] | None = None
        self._scope = ""
        self._inner = self._outer = hashlib.sha256()

    def stamp(self, now: float) -> str:
        """Return the X-Amz-Date of a moment in epoch seconds."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        return self._stamp

    def authorization(
        self,
        method: str,
        path: str,
        query: str,
        *,
        lines: str,
        names: str,
        payload_hash: str,
        keys: Keys,
        stamp: str,
    ) -> str:
        r"""Return the value of the Authorization header.

        Args:
            method: The HTTP method.
            path: As ``canonical_path`` returns it.
            query: As ``canonical_query`` returns it.
            lines: The lines of ``canonical_headers``, each ended by ``\n``; ``host`` and
                ``x-amz-date`` are among them, and ``x-amz-security-token`` where there is one.
            names: The names of these lines, joined by ``;``.
            payload_hash: SHA-256 of the body in hexadecimal digits, or ``UNSIGNED_PAYLOAD``.
            keys: Keys of the signature.
            stamp: The value of ``x-amz-date``.
        """
        if self._key_for != (keys, stamp[:8]):
            self._derive_key(keys, stamp[:8])
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload_hash}"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"{ALGORITHM}\n{stamp}\n{self._scope}\n{digest}"
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return (
            f"{ALGORITHM} Credential={keys.access_key_id}/{self._scope}, "
            f"SignedHeaders={names}, Signature={outer.hexdigest()}"
        )

    def _derive_key(self, keys: Keys, day: str) -> None:
        key = f"AWS4{keys.secret_access_key}".encode()
        for part in (day, self._region, self.service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        # HMAC by its two keyed states (RFC 2104): half the time of hmac.digest, which also
        # releases the interpreter lock at each call, so that each signature yields to a thread.
        padded = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER))
        self._outer = hashlib.sha256(padded.translate(_OUTER))
        self._scope = f"{day}/{self._region}/{self.service}/aws4_request"
        self._key_for = (keys, day)
