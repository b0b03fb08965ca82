"""Client of one S3 bucket over our own HTTP connections."""

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

from dispatcher.aws.direct.caller import ERROR_BYTES, Caller, CallPurpose, DeferredResponse
from dispatcher.aws.direct.error_response import parse_xml
from dispatcher.aws.direct.request import EMPTY_SHA256, Request, RequestTemplate
from dispatcher.aws.direct.sigv4 import UNSIGNED_PAYLOAD, canonical_value
from dispatcher.aws.http.response import Response
from dispatcher.aws.requests import PLAIN, PutOptions
from dispatcher.aws.sdk.bucket import SdkBucket
from dispatcher.aws.sdk.upload import SdkUpload
from dispatcher.errors import Denied, Rejected, Transient

_THREAD_BYTES = 1_000_000
"""Bodies from here on are hashed on a worker thread: this keeps the event loop free for half a
millisecond."""

_PAGE_BYTES = 4_000_000
"""Most bytes of a page of a list: a thousand keys of 1,024 bytes, each percent-encoded."""

_OTHER_REGION_CODES = frozenset(
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
"""Error codes for a bucket in another region; the response to a HEAD has only its status."""

_UNESCAPED_KEY = re.compile(r"[A-Za-z0-9._~/-]*")
"""Keys that are their own percent-encoding, as nearly all are."""

_GET = RequestTemplate("GET", between="x-amz-checksum-mode;x-amz-content-sha256;")
_HEAD, _DELETE, _LIST = (
    RequestTemplate(method, between="x-amz-content-sha256;") for method in ("HEAD", "DELETE", "GET")
)

_ENCRYPTION = "x-amz-server-side-encryption"
_OPTION_HEADERS = (_ENCRYPTION, f"{_ENCRYPTION}-aws-kms-key-id", "x-amz-tagging")
"""Optional headers of a put, sorted."""


class DirectIncomingObject:
    """Object that is open for reading.

    Attributes:
        size: Its length in bytes.
        content_type: Its MIME type, or None.
    """

    def __init__(self, response: DeferredResponse, action: str) -> None:
        self._response = response
        self._action = action
        self.size = response.size
        kind = response.headers.get(b"content-type")
        self.content_type = None if kind is None else kind.decode("utf-8", "replace")

    async def read(self) -> bytes:
        """Return all of it.

        Raises:
            Transient: It broke off, or is not what was stored.
        """
        body = (await self._response.read()).body
        stored = self._response.headers.get(b"x-amz-checksum-crc32", b"-")
        # A dash precedes the number of parts: this is then a checksum of checksums.
        if b"-" not in stored and stored != await _offloaded(_crc32, body):
            raise Transient(f"{self._action}: the checksum is wrong", code="BadDigest")
        return body

    def close(self) -> None:
        """Drop what was not read."""
        self._response.close()


class DirectBucket:
    """One bucket.

    All calls raise ``Throttled`` or ``Transient`` (repeat), ``Rejected`` (never repeat) and
    ``Denied`` (a person has to fix it).

    Args:
        name: The bucket's name.
        caller: Caller of the bucket's address.
        find_caller: Looks for the bucket; returns the caller of another address, or None if it is
            this one.
        sdk: The calls to the same bucket through aioboto3, for those that are not hot.
    """

    def __init__(
        self,
        *,
        name: str,
        caller: Caller,
        find_caller: Callable[[], Awaitable[Caller | None]],
        sdk: SdkBucket,
    ) -> None:
        self._name = name
        self._caller = caller
        self._find_caller = find_caller
        self._sdk = sdk
        self._is_found = False
        self._find_lock = anyio.Lock()

    async def put(
        self, key: str, body: bytes, content_type: str, options: PutOptions = PLAIN
    ) -> None:
        """Write an object."""
        shared = _shared_put_parts(options)
        checksum = await _offloaded(_crc32, body)
        # TLS and the checksum protect the body; another hash would be the largest cost of the call.
        payload_hash = UNSIGNED_PAYLOAD
        if not self._caller.is_encrypted:
            payload_hash = (await _offloaded(_sha256, body)).decode()
        request = Request(
            shared.template,
            _path(key),
            before=f"content-type:{canonical_value(content_type)}\n",
            between=f"x-amz-checksum-crc32:{checksum.decode()}\n{_hashed(payload_hash)}",
            after=shared.option_lines,
            body=body,
            payload_hash=payload_hash,
        )
        await self._call(request, CallPurpose(f"writing to bucket {self._name}"))

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
        purpose = CallPurpose(f"reading s3://{self._name}/{key}", reading=True)
        request = Request(_GET, _path(key), between=f"x-amz-checksum-mode:ENABLED\n{_EMPTY}")
        caller = self._caller
        try:
            response = await caller.fetch(request, purpose)
        except (Denied, Rejected) as error:
            if not await self._is_in_other_region(error, caller):
                raise
            response = await self._caller.fetch(request, purpose)
        return DirectIncomingObject(response, purpose.action)

    async def head(self, key: str) -> int:
        """Return the length of an object in bytes.

        Raises:
            NotThere: It does not exist.
        """
        purpose = CallPurpose(f"looking at s3://{self._name}/{key}", reading=True)
        response = await self._call(Request(_HEAD, _path(key), between=_EMPTY), purpose)
        size = response.header(b"content-length") or ""
        if not (size.isascii() and size.isdecimal()):
            raise Transient(f"no size while {purpose.action}", code="NoAnswer")
        return int(size)

    async def page(self, prefix: str) -> set[str]:
        """Return the first 1,000 keys that begin with ``prefix``."""
        purpose = CallPurpose(f"listing s3://{self._name}/{prefix}")
        query = f"encoding-type=url&list-type=2&prefix={quote(prefix, safe='-_.~')}"
        request = Request(_LIST, "", query, between=_EMPTY)
        response = await self._call(request, purpose, max_body_bytes=_PAGE_BYTES)
        try:
            root = parse_xml(response.body)
        except ET.ParseError as error:
            raise Transient(f"no list while {purpose.action}: {error}", code="NoAnswer") from error
        keys = (element.text or "" for element in root.iterfind("{*}Contents/{*}Key"))
        if root.findtext("{*}EncodingType") == "url":
            return {unquote_plus(key) for key in keys}
        return set(keys)

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is no error."""
        purpose = CallPurpose(f"deleting s3://{self._name}/{key}")
        await self._call(Request(_DELETE, _path(key), between=_EMPTY), purpose)

    async def _call(
        self, request: Request, purpose: CallPurpose, *, max_body_bytes: int = ERROR_BYTES
    ) -> Response:
        caller = self._caller
        try:
            return await caller.call(request, purpose, max_body_bytes=max_body_bytes)
        except (Denied, Rejected) as error:
            if not await self._is_in_other_region(error, caller):
                raise
        return await self._caller.call(request, purpose, max_body_bytes=max_body_bytes)

    async def _is_in_other_region(self, error: Denied | Rejected, called: Caller) -> bool:
        """Return whether the bucket is in another region; later calls then go there.

        It is looked for once, however many calls fail at the same time.
        """
        if error.code not in _OTHER_REGION_CODES:
            return False
        async with self._find_lock:
            if not self._is_found:
                new_caller = await self._find_caller()
                # The response to a HEAD has only a status, which may have another reason.
                self._is_found = new_caller is not None or error.code != "400"
                self._caller = new_caller or self._caller
        return self._caller is not called


@dataclass(slots=True, frozen=True)
class _SharedPutParts:
    """Parts that puts with the same options share.

    Attributes:
        template: Template of the request.
        option_lines: The headers of the options.
    """

    template: RequestTemplate
    option_lines: str


@lru_cache(maxsize=16)
def _shared_put_parts(options: PutOptions) -> _SharedPutParts:
    values = (options.encryption, options.kms_key, options.tagging)
    set_options = [(n, v) for n, v in zip(_OPTION_HEADERS, values, strict=True) if v is not None]
    return _SharedPutParts(
        RequestTemplate(
            "PUT",
            before="content-type;",
            between="x-amz-checksum-crc32;x-amz-content-sha256;",
            after="".join(f";{name}" for name, _ in set_options),
        ),
        "".join(f"{name}:{canonical_value(value)}\n" for name, value in set_options),
    )


def _path(key: str) -> str:
    return f"/{key if _UNESCAPED_KEY.fullmatch(key) else quote(key, safe='/~')}"


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
