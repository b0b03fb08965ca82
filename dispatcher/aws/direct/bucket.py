"""The calls to the objects of one S3 bucket over our own client."""

import base64
import hashlib
import re
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree as ET

import anyio
import anyio.to_thread

from dispatcher.aws.direct.caller import ERROR_BYTES, Caller, Doing, Fetched
from dispatcher.aws.direct.error_response import parse_xml
from dispatcher.aws.direct.request import EMPTY_SHA256, Form, Request
from dispatcher.aws.direct.sigv4 import UNSIGNED_PAYLOAD, canonical_value
from dispatcher.aws.http.response import Response
from dispatcher.aws.requests import PLAIN, PutOptions
from dispatcher.aws.sdk.bucket import SdkBucket
from dispatcher.aws.sdk.upload import SdkUpload
from dispatcher.errors import Denied, Rejected, Transient

_THREAD_BYTES = 1_000_000
"""Bodies from here on are hashed on a worker thread: half a millisecond that others can use."""

_PAGE_BYTES = 4_000_000
"""Most bytes of a page of a list: a thousand keys of 1,024 bytes, each percent-encoded."""

_ELSEWHERE = frozenset(
    {
        "301",
        "307",
        "400",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
    }
)
"""How S3 says that a bucket is in another region; a HEAD says it by its status alone."""

_PLAIN = re.compile(r"[A-Za-z0-9._~/-]*")
"""Keys that are their own percent-encoding, as nearly all are."""

_GET = Form("GET", between="x-amz-checksum-mode;x-amz-content-sha256;")
_HEAD, _DELETE, _LIST = (
    Form(method, between="x-amz-content-sha256;") for method in ("HEAD", "DELETE", "GET")
)

_ENCRYPTION = "x-amz-server-side-encryption"
_OPTIONAL = (_ENCRYPTION, f"{_ENCRYPTION}-aws-kms-key-id", "x-amz-tagging")
"""What a put may say besides, sorted."""


class DirectIncomingObject:
    """An object that is about to be read.

    Attributes:
        size: Its bytes.
        content_type: Its MIME type, or None.
    """

    def __init__(self, fetched: Fetched, what: str) -> None:
        self._fetched = fetched
        self._what = what
        self.size = fetched.size
        kind = fetched.headers.get(b"content-type")
        self.content_type = None if kind is None else kind.decode("utf-8", "replace")

    async def read(self) -> bytes:
        """Return all of it.

        Raises:
            Transient: It broke off, or is not what was stored.
        """
        body = (await self._fetched.read()).body
        stored = self._fetched.headers.get(b"x-amz-checksum-crc32", b"-")
        # Behind a dash is the number of parts whose checksums this is one of.
        if b"-" not in stored and stored != await _offloaded(_crc32, body):
            raise Transient(f"{self._what}: the checksum is wrong", code="BadDigest")
        return body

    def close(self) -> None:
        """Let go of what was not read."""
        self._fetched.close()


class DirectBucket:
    """One bucket.

    All calls raise ``Throttled`` or ``Transient`` (repeat), ``Rejected`` (never repeat) and
    ``Denied`` (a person has to mend it).

    Args:
        name: The bucket's name.
        caller: Of the bucket's address.
        find: Finds out where the bucket really is; returns the caller of another address, or None
            if it is this one.
        sdk: The calls to the same bucket through aioboto3, for those that are not hot.
    """

    def __init__(
        self,
        name: str,
        caller: Caller,
        find: Callable[[], Awaitable[Caller | None]],
        sdk: SdkBucket,
    ) -> None:
        self._name = name
        self._caller = caller
        self._find = find
        self._sdk = sdk
        self._is_found = False
        self._finding = anyio.Lock()

    async def put(
        self, key: str, body: bytes, content_type: str, options: PutOptions = PLAIN
    ) -> None:
        """Write an object."""
        kept = _kept(options)
        checksum = await _offloaded(_crc32, body)
        # TLS and the checksum protect the body; hashing it once more would cost the most of all.
        payload_hash = UNSIGNED_PAYLOAD
        if not self._caller.is_encrypted:
            payload_hash = (await _offloaded(_sha256, body)).decode()
        request = Request(
            kept.form,
            _path(key),
            before=f"content-type:{canonical_value(content_type)}\n",
            between=f"x-amz-checksum-crc32:{checksum.decode()}\n{_hashed(payload_hash)}",
            after=kept.lines,
            body=body,
            payload_hash=payload_hash,
        )
        await self._call(request, Doing(f"writing to bucket {self._name}"))

    async def upload(self, key: str, content_type: str, options: PutOptions) -> SdkUpload:
        """Begin to write an object in parts."""
        return await self._sdk.upload(key, content_type, options)

    async def abort_uploads(self, key: str) -> None:
        """Delete the parts of all uploads of an object that were begun and not completed."""
        await self._sdk.abort_uploads(key)

    async def get(self, key: str) -> DirectIncomingObject:
        """Begin to read an object; the caller has to ``close`` it.

        Raises:
            NotThere: It does not exist.
        """
        doing = Doing(f"reading s3://{self._name}/{key}", reading=True)
        request = Request(_GET, _path(key), between=f"x-amz-checksum-mode:ENABLED\n{_EMPTY}")
        caller = self._caller
        try:
            fetched = await caller.fetch(request, doing)
        except (Denied, Rejected) as error:
            if not await self._is_elsewhere(error, caller):
                raise
            fetched = await self._caller.fetch(request, doing)
        return DirectIncomingObject(fetched, doing.what)

    async def head(self, key: str) -> int:
        """Return the bytes of an object.

        Raises:
            NotThere: It does not exist.
        """
        doing = Doing(f"looking at s3://{self._name}/{key}", reading=True)
        answer = await self._call(Request(_HEAD, _path(key), between=_EMPTY), doing)
        size = answer.header(b"content-length") or ""
        if not (size.isascii() and size.isdecimal()):
            raise Transient(f"no size while {doing.what}", code="NoAnswer")
        return int(size)

    async def page(self, prefix: str) -> set[str]:
        """Return the first 1,000 keys that begin with ``prefix``."""
        doing = Doing(f"listing s3://{self._name}/{prefix}")
        query = f"encoding-type=url&list-type=2&prefix={quote(prefix, safe='-_.~')}"
        request = Request(_LIST, "", query, between=_EMPTY)
        answer = await self._call(request, doing, max_body_bytes=_PAGE_BYTES)
        try:
            root = parse_xml(answer.body)
        except ET.ParseError as error:
            raise Transient(f"no list while {doing.what}: {error}", code="NoAnswer") from error
        keys = (found.text or "" for found in root.iterfind("{*}Contents/{*}Key"))
        if root.findtext("{*}EncodingType") == "url":
            return {unquote_plus(key) for key in keys}
        return set(keys)

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is no error."""
        doing = Doing(f"deleting s3://{self._name}/{key}")
        await self._call(Request(_DELETE, _path(key), between=_EMPTY), doing)

    async def _call(
        self, request: Request, doing: Doing, *, max_body_bytes: int = ERROR_BYTES
    ) -> Response:
        caller = self._caller
        try:
            return await caller.call(request, doing, max_body_bytes=max_body_bytes)
        except (Denied, Rejected) as error:
            if not await self._is_elsewhere(error, caller):
                raise
        return await self._caller.call(request, doing, max_body_bytes=max_body_bytes)

    async def _is_elsewhere(self, error: Denied | Rejected, asked: Caller) -> bool:
        """Return whether the bucket is elsewhere than it was asked at; calls go there from now on.

        It is looked for once, however many calls are sent away at the same time.
        """
        if error.code not in _ELSEWHERE:
            return False
        async with self._finding:
            if not self._is_found:
                found = await self._find()
                # A HEAD is refused by its status only: that may have had another reason.
                self._is_found = found is not None or error.code != "400"
                self._caller = found or self._caller
        return self._caller is not asked


@dataclass(slots=True, frozen=True)
class _Kept:
    """What puts with the same options share.

    Attributes:
        form: Of the request.
        lines: The headers of the options.
    """

    form: Form
    lines: str


@lru_cache(maxsize=16)
def _kept(options: PutOptions) -> _Kept:
    values = (options.encryption, options.kms_key, options.tagging)
    given = [(n, v) for n, v in zip(_OPTIONAL, values, strict=True) if v is not None]
    return _Kept(
        Form(
            "PUT",
            before="content-type;",
            between="x-amz-checksum-crc32;x-amz-content-sha256;",
            after="".join(f";{name}" for name, _ in given),
        ),
        "".join(f"{name}:{canonical_value(value)}\n" for name, value in given),
    )


def _path(key: str) -> str:
    return f"/{key if _PLAIN.fullmatch(key) else quote(key, safe='/~')}"


def _hashed(payload_hash: str) -> str:
    return f"x-amz-content-sha256:{payload_hash}\n"


_EMPTY = _hashed(EMPTY_SHA256)


async def _offloaded(digest: Callable[[bytes], bytes], body: bytes) -> bytes:
    if len(body) < _THREAD_BYTES:
        return digest(body)
    return await anyio.to_thread.run_sync(digest, body)


def _crc32(body: bytes) -> bytes:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big"))


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
