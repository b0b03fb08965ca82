"""Objects written in parts, through aioboto3 whatever the transport: these calls are not hot."""

import base64
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import anyio
import anyio.to_thread

from dispatcher.aws.error_mapping import translate
from dispatcher.aws.requests import PutOptions
from dispatcher.errors import Denied, Transient

_GONE = "NoSuchUpload"


class SdkUpload:
    """An object that is written in parts; see ``dispatcher.aws.objects.Upload``.

    Each part travels with its CRC-32, which S3 checks, and the whole with its number of bytes.

    Args:
        client: aioboto3's client.
        named: Bucket, key and id of the upload, as all its calls name it.
        total: Most seconds of a call.
    """

    def __init__(self, client: Any, named: dict[str, str], total: float) -> None:
        self._client = client
        self._named = named
        self._doing = f"writing to bucket {named['Bucket']}"
        self._total = total
        self._parts: dict[int, dict[str, object]] = {}
        self._sizes: dict[int, int] = {}

    @classmethod
    async def begin(
        cls,
        client: Any,
        bucket: str,
        key: str,
        content_type: str,
        options: PutOptions,
        *,
        total: float,
    ) -> Self:
        """Begin an upload, which has to be completed or aborted."""
        with _translate(f"writing to bucket {bucket}", total):
            answer = await client.create_multipart_upload(
                Bucket=bucket,
                Key=key,
                ContentType=content_type,
                ChecksumAlgorithm="CRC32",
                **parameters_of(options),
            )
        named = {"Bucket": bucket, "Key": key, "UploadId": answer["UploadId"]}
        return cls(client, named, total)

    async def part(self, number: int, body: bytes) -> None:
        """Write a part."""
        crc = await anyio.to_thread.run_sync(zlib.crc32, body)
        checksum = base64.b64encode(crc.to_bytes(4, "big")).decode()
        with _translate(self._doing, self._total):
            answer = await self._client.upload_part(
                **self._named,
                PartNumber=number,
                Body=io.BytesIO(body),  # a stream is sent in pieces, and lets the loop breathe
                ContentLength=len(body),
                ChecksumCRC32=checksum,
            )
        self._parts[number] = {
            "PartNumber": number,
            "ETag": answer["ETag"],
            "ChecksumCRC32": checksum,
        }
        self._sizes[number] = len(body)

    async def complete(self) -> None:
        """Make the object of the parts."""
        parts = [self._parts[number] for number in sorted(self._parts)]
        with _translate(self._doing, self._total):
            await self._client.complete_multipart_upload(
                **self._named,
                MultipartUpload={"Parts": parts},
                MpuObjectSize=sum(self._sizes.values()),
            )

    async def abort(self) -> None:
        """Delete the parts; harmless when there are none any more."""
        await _abort(self._client, self._named, self._total)


async def abort_uploads(client: Any, bucket: str, key: str, *, total: float) -> None:
    """Delete the parts of all uploads of an object that were begun and not completed."""
    with _translate(f"listing uploads to bucket {bucket}", total):
        answer = await client.list_multipart_uploads(Bucket=bucket, Prefix=key)
    for found in answer.get("Uploads", ()):
        if found["Key"] == key:
            named = {"Bucket": bucket, "Key": key, "UploadId": found["UploadId"]}
            await _abort(client, named, total)


async def _abort(client: Any, named: dict[str, str], total: float) -> None:
    doing = f"aborting an upload to bucket {named['Bucket']}"
    try:
        with _translate(doing, total):
            await client.abort_multipart_upload(**named)
    except Transient as error:
        if error.code != _GONE:
            raise


@contextmanager
def _translate(doing: str, total: float) -> Iterator[None]:
    """Map errors to ours, see ``translate``.

    An upload that is gone (somebody aborted it) is nobody's fault: it may be begun anew.
    """
    try:
        with translate(doing, repeatable=True), anyio.fail_after(total):
            yield
    except Denied as error:
        if error.code != _GONE:
            raise
        raise Transient(f"the upload is gone while {doing}", code=_GONE) from error


def parameters_of(options: PutOptions) -> dict[str, Any]:
    """Return the parameters that aioboto3 takes for these options."""
    named = {
        "ServerSideEncryption": options.encryption,
        "SSEKMSKeyId": options.kms_key,
        "Tagging": options.tagging,
    }
    return {name: value for name, value in named.items() if value is not None}
