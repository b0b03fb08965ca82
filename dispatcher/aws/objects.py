"""Objects in S3, in any bucket and over any transport."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol

from dispatcher.aws.requests import PLAIN, Location, PutOptions
from dispatcher.errors import Denied, NotThere, Rejected

_DENIED_CODES = ("AccessDenied", "403")


class IncomingObject(Protocol):
    """Object that is open for reading.

    Attributes:
        size: Its length in bytes.
        content_type: Its MIME type, or None.
    """

    size: int
    content_type: str | None

    async def read(self) -> bytes:
        """Return all of it."""

    def close(self) -> None:
        """Drop what was not read."""


class MultipartUpload(Protocol):
    """Object that is written in parts, and exists once all of them are complete.

    Raises what ``BucketClient`` does.
    """

    async def part(self, number: int, body: bytes) -> None:
        """Write a part, which S3 checks.

        Args:
            number: Its place, from 1 to 10,000; those of different parts may be under way at once.
            body: At least 5 MiB, but for the last one.
        """

    async def complete(self) -> None:
        """Combine the parts into the object."""

    async def abort(self) -> None:
        """Delete the parts; harmless when there are none any more."""


class BucketClient(Protocol):
    """The calls to the objects of one bucket.

    All of them raise ``Throttled`` or ``Transient`` (repeat), ``Rejected`` (never repeat) and
    ``Denied`` (a person has to fix it).
    """

    async def put(self, key: str, body: bytes, content_type: str, options: PutOptions) -> None:
        """Write an object, which S3 checks."""

    async def upload(self, key: str, content_type: str, options: PutOptions) -> MultipartUpload:
        """Begin to write an object in parts."""

    async def abort_uploads(self, key: str) -> None:
        """Delete the parts of all uploads of an object that were begun and not completed."""

    async def get(self, key: str) -> IncomingObject:
        """Begin to read an object, which the caller has to ``close``; raises ``NotThere``."""

    async def head(self, key: str) -> int:
        """Return the length of an object in bytes; raises ``NotThere``."""

    async def page(self, prefix: str) -> set[str]:
        """Return the first 1,000 keys that begin with ``prefix``."""

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is no error."""


class Objects:
    """The objects of all buckets.

    Raises what ``BucketClient`` does. Without ``s3:ListBucket`` a missing object answers 403, as
    does any object without ``s3:GetObject``. A HEAD of an object that was read before separates
    the two cases: where that one can still be read, this one is missing.

    Args:
        connect: Returns the client of a bucket.
    """

    def __init__(self, connect: Callable[[str], Awaitable[BucketClient]]) -> None:
        self._connect = connect
        self._buckets: dict[str, BucketClient] = {}
        self._seen_keys: dict[str, str] = {}

    async def put(
        self, location: Location, body: bytes, content_type: str, options: PutOptions = PLAIN
    ) -> None:
        """Write an object, which S3 checks."""
        await (await self._bucket(location)).put(location.key, body, content_type, options)

    async def upload(
        self, location: Location, content_type: str, options: PutOptions
    ) -> MultipartUpload:
        """Begin to write an object in parts; the caller has to complete or to abort it."""
        return await (await self._bucket(location)).upload(location.key, content_type, options)

    async def abort_uploads(self, location: Location) -> None:
        """Delete the parts of all uploads of an object that were begun and not completed."""
        await (await self._bucket(location)).abort_uploads(location.key)

    def open(self, location: Location) -> "_ReadContext":
        """Open an object for reading; returns a context manager.

        Raises:
            NotThere: It does not exist.
        """
        return _ReadContext(self, location)

    async def get(self, location: Location) -> IncomingObject:
        """Begin to read an object, which the caller has to ``close``.

        Raises:
            NotThere: It does not exist.
        """
        try:
            incoming = await (await self._bucket(location)).get(location.key)
        except Denied as error:
            if await self._is_missing(location, error):
                raise NotThere(f"no such object while reading {location}", code="403") from error
            raise
        self._seen_keys[location.bucket] = location.key
        return incoming

    async def exists(self, location: Location) -> bool | None:
        """Return whether an object exists, or None without the permission to see it."""
        try:
            return None if await self.size(location) is None else True
        except NotThere:
            return False

    async def size(self, location: Location) -> int | None:
        """Return the length of an object, or None without the permission to see it.

        Raises:
            NotThere: It does not exist.
        """
        bucket = await self._bucket(location)
        try:
            try:
                size = await bucket.head(location.key)
            except Rejected as error:
                if error.code != "400":
                    raise
                # The response to a HEAD has no message. That to a GET has one, with the remedy.
                incoming = await bucket.get(location.key)
                incoming.close()
                size = incoming.size
        except Denied as error:
            if await self._is_missing(location, error):
                raise NotThere(f"no such object: {location}", code="403") from error
            return None
        self._seen_keys[location.bucket] = location.key
        return size

    async def page(self, folder: Location) -> set[str]:
        """Return the first 1,000 keys that begin with ``folder.key``."""
        return await (await self._bucket(folder)).page(folder.key)

    async def delete(self, location: Location) -> None:
        """Delete an object; one that does not exist is no error."""
        await (await self._bucket(location)).delete(location.key)

    async def _bucket(self, location: Location) -> BucketClient:
        bucket = self._buckets.get(location.bucket)
        if bucket is None:
            bucket = self._buckets[location.bucket] = await self._connect(location.bucket)
        return bucket

    async def _is_missing(self, location: Location, error: Denied) -> bool:
        """Return whether an access error means that there is no such object."""
        seen = self._seen_keys.get(location.bucket)
        if error.code not in _DENIED_CODES or seen is None or seen == location.key:
            return False
        try:
            await (await self._bucket(location)).head(seen)
        except (NotThere, Denied):
            return False
        return True


class _ReadContext:
    """Context of an open object: a class, because a generator costs more than the request."""

    def __init__(self, objects: Objects, location: Location) -> None:
        self._objects = objects
        self._location = location
        self._incoming: IncomingObject | None = None

    async def __aenter__(self) -> IncomingObject:
        """Open the object."""
        self._incoming = await self._objects.get(self._location)
        return self._incoming

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drop what was not read."""
        if self._incoming is not None:
            self._incoming.close()
