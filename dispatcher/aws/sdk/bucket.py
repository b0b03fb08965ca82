"""The calls to the objects of one S3 bucket through aioboto3."""

import io
from typing import Any

import anyio

from dispatcher.aws.error_mapping import translate
from dispatcher.aws.requests import PLAIN, PutOptions
from dispatcher.aws.sdk.upload import SdkUpload, abort_uploads, parameters_of


class SdkIncomingObject:
    """An object that is about to be read.

    Attributes:
        size: Its bytes.
        content_type: Its MIME type, or None.
    """

    def __init__(self, answer: dict[str, Any], doing: str, total: float) -> None:
        self.size: int = answer.get("ContentLength", 0)
        self.content_type: str | None = answer.get("ContentType")
        self._stream = answer["Body"]
        self._doing = doing
        self._total = total

    async def read(self) -> bytes:
        """Return all of it."""
        with translate(self._doing, repeatable=True), anyio.fail_after(self._total):
            body: bytes = await self._stream.read()
            return body

    def close(self) -> None:
        """Let go of what was not read."""
        self._stream.close()


class SdkBucket:
    """One bucket; see ``dispatcher.aws.transport.Bucket``.

    Args:
        client: aioboto3's client.
        name: The bucket's name.
        total: Most seconds of a call.
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
            Body=io.BytesIO(body),  # a stream is sent in pieces, and lets the loop breathe
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
        doing = f"reading s3://{self._name}/{key}"
        return SdkIncomingObject(
            await self._call("get_object", doing, reading=True, Key=key), doing, self._total
        )

    async def head(self, key: str) -> int:
        """Return the bytes of an object."""
        doing = f"looking at s3://{self._name}/{key}"
        answer = await self._call("head_object", doing, reading=True, Key=key)
        size: int = answer.get("ContentLength", 0)
        return size

    async def page(self, prefix: str) -> set[str]:
        """Return the first 1,000 keys that begin with ``prefix``."""
        doing = f"listing s3://{self._name}/{prefix}"
        answer = await self._call("list_objects_v2", doing, Prefix=prefix)
        return {item["Key"] for item in answer.get("Contents", ())}

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is no error."""
        await self._call("delete_object", f"deleting s3://{self._name}/{key}", Key=key)

    async def _call(
        self, operation: str, doing: str, *, reading: bool = False, **parameters: object
    ) -> dict[str, Any]:
        call = getattr(self._client, operation)
        with (
            translate(doing, repeatable=True, reading=reading),
            anyio.fail_after(self._total),
        ):
            answer: dict[str, Any] = await call(Bucket=self._name, **parameters)
        return answer
