"""The calls to S3."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dispatcher.aws.calls import Location
from dispatcher.aws.mapping import translate
from dispatcher.errors import Denied, NotThere

_REFUSED = ("AccessDenied", "403")


@dataclass(slots=True)
class Incoming:
    """An object that is about to be read.

    Attributes:
        size: Its bytes.
        content_type: Its MIME type, or None.
    """

    size: int
    content_type: str | None
    _location: Location
    _stream: Any

    async def read(self) -> bytes:
        """Return all of it."""
        with translate(f"reading {self._location}", repeatable=True):
            body: bytes = await self._stream.read()
            return body


class Objects:
    """The S3 client, with just the calls that are made.

    All of them raise ``Throttled`` or ``Transient`` (repeat), ``Rejected`` (never repeat) and
    ``Denied`` (a person has to mend it).

    Without ``s3:ListBucket`` a missing object answers 403, as does any object without
    ``s3:GetObject``. The two are told apart by a look at an object that was there before: where
    that can still be seen, this one is missing.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._seen: dict[str, str] = {}

    async def put(self, location: Location, body: bytes, content_type: str) -> None:
        """Write an object."""
        with translate(f"writing to bucket {location.bucket}", repeatable=True):
            await self._client.put_object(
                Bucket=location.bucket,
                Key=location.key,
                Body=io.BytesIO(body),  # a stream is sent in pieces, and lets the loop breathe
                ContentType=content_type,
            )

    @asynccontextmanager
    async def open(self, location: Location) -> AsyncIterator[Incoming]:
        """Begin to read an object.

        Raises:
            NotThere: It does not exist.
        """
        try:
            with translate(f"reading {location}", repeatable=True, reading=True):
                answer = await self._client.get_object(Bucket=location.bucket, Key=location.key)
        except Denied as error:
            if await self._is_missing(location, error):
                raise NotThere(f"no such object while reading {location}", code="403") from error
            raise
        self._seen[location.bucket] = location.key
        async with answer["Body"] as stream:
            yield Incoming(answer["ContentLength"], answer.get("ContentType"), location, stream)

    async def exists(self, location: Location) -> bool | None:
        """Return whether an object is there, or None if that cannot be seen."""
        try:
            with translate(f"looking at {location}", repeatable=True, reading=True):
                await self._client.head_object(Bucket=location.bucket, Key=location.key)
        except NotThere:
            return False
        except Denied as error:
            return False if await self._is_missing(location, error) else None
        self._seen[location.bucket] = location.key
        return True

    async def _is_missing(self, location: Location, error: Denied) -> bool:
        """Return whether a refusal means that there is no such object."""
        seen = self._seen.get(location.bucket)
        if error.code not in _REFUSED or seen is None or seen == location.key:
            return False
        try:
            with translate(f"looking at {location.bucket}", repeatable=True, reading=True):
                await self._client.head_object(Bucket=location.bucket, Key=seen)
        except (NotThere, Denied):
            return False
        return True

    async def page(self, folder: Location) -> set[str]:
        """Return the first 1,000 keys that begin with ``folder.key``."""
        with translate(f"listing {folder}", repeatable=True):
            answer = await self._client.list_objects_v2(Bucket=folder.bucket, Prefix=folder.key)
        return {item["Key"] for item in answer.get("Contents", ())}
