"""The calls to S3."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dispatcher.aws.calls import Location
from dispatcher.aws.mapping import translate
from dispatcher.errors import Denied, NotThere


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
    """

    def __init__(self, client: Any) -> None:
        self._client = client

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
        with translate(f"reading {location}", repeatable=True):
            answer = await self._client.get_object(Bucket=location.bucket, Key=location.key)
        async with answer["Body"] as stream:
            yield Incoming(answer["ContentLength"], answer.get("ContentType"), location, stream)

    async def exists(self, location: Location) -> bool:
        """Return whether an object is there.

        Without ``s3:ListBucket`` a missing object answers 403: that counts as not there.
        """
        try:
            with translate(f"looking at {location}", repeatable=True):
                await self._client.head_object(Bucket=location.bucket, Key=location.key)
        except (NotThere, Denied):
            return False
        return True

    async def page(self, folder: Location) -> set[str]:
        """Return the first 1,000 keys that begin with ``folder.key``."""
        with translate(f"listing {folder}", repeatable=True):
            answer = await self._client.list_objects_v2(Bucket=folder.bucket, Prefix=folder.key)
        return {item["Key"] for item in answer.get("Contents", ())}
