"""Client of one S3 bucket through aioboto3."""

import io
from typing import Any

import anyio

from dispatcher.aws.error_mapping import translate
from dispatcher.aws.requests import PLAIN, PutOptions
from dispatcher.aws.sdk.upload import SdkUpload, abort_uploads, parameters_of


class SdkIncomingObject:
    """Object that is open for reading.

    Attributes:
        size: Its length in bytes.
        content_type: Its MIME type, or None.
    """

    def __init__(self, response: dict[str, Any], action: str, total: float) -> None:
        self.size: int = response.get("ContentLength", 0)
        self.content_type: str | None = response.get("ContentType")
        self._stream = response["Body"]
        self._action = action
        self._total = total

    async def read(self) -> bytes:
        """Return all of it."""
        with translate(self._action, repeatable=True), anyio.fail_after(self._total):
            body: bytes = await self._stream.read()
            return body

    def close(self) -> None:
        """Drop what was not read."""
        self._stream.close()


class SdkBucket:
    """Client of one bucket; see ``dispatcher.aws.objects.BucketClient``.

    Args:
        client: aioboto3's client.
        name: The bucket's name.
        total: Longest time of a call, in seconds.
    """

    def __init__(self, client: Any, name: str, total: float) -> None:
        self._client = client
        self._name = name
        self._total = total

    async def put(
        self, key: str, body: bytes, content_type: str, options: PutOptions = PLAIN
    ) -> None:
        """Write an object."""
        await self._call(
            "put_object",
            f"writing to bucket {self._name}",
            Key=key,
            Body=io.BytesIO(body),  # a stream is sent in pieces, so that the loop can do other work
            ContentType=content_type,
            **parameters_of(options),
        )

    async def upload(self, key: str, content_type: str, options: PutOptions) -> SdkUpload:
        """Begin to write an object in parts."""
        return await SdkUpload.begin(
            self._client, self._name, key, content_type, options, total=self._total
        )

    async def abort_uploads(self, key: str) -> None:
        """Delete the parts of all uploads of an object that were begun and not completed."""
        await abort_uploads(self._client, self._name, key, total=self._total)

    async def get(self, key: str) -> SdkIncomingObject:
        """Begin to read an object; the caller has to ``close`` it."""
        action = f"reading s3://{self._name}/{key}"
        return SdkIncomingObject(
            await self._call("get_object", action, reading=True, Key=key), action, self._total
        )

    async def head(self, key: str) -> int:
        """Return the length of an object in bytes."""
        action = f"looking at s3://{self._name}/{key}"
        response = await self._call("head_object", action, reading=True, Key=key)
        size: int = response.get("ContentLength", 0)
        return size

    async def page(self, prefix: str) -> set[str]:
        """Return the first 1,000 keys that begin with ``prefix``."""
        action = f"listing s3://{self._name}/{prefix}"
        response = await self._call("list_objects_v2", action, Prefix=prefix)
        return {item["Key"] for item in response.get("Contents", ())}

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is no error."""
        await self._call("delete_object", f"deleting s3://{self._name}/{key}", Key=key)

    async def _call(
        self, operation: str, action: str, *, reading: bool = False, **parameters: object
    ) -> dict[str, Any]:
        call = getattr(self._client, operation)
        with (
            translate(action, repeatable=True, reading=reading),
            anyio.fail_after(self._total),
        ):
            response: dict[str, Any] = await call(Bucket=self._name, **parameters)
        return response
