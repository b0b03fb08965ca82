"""Multipart uploads, through aioboto3 whatever the transport: these calls are not hot."""

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
    """Object that is written in parts; see ``dispatcher.aws.objects.MultipartUpload``.

    Each part is sent with its CRC-32, which S3 checks, and the whole with its length.

    Args:
        client: aioboto3's client.
        identity: Bucket, key and id of the upload, as all its calls name it.
        total: Longest time of a call, in seconds.
    """

    def __init__(self, client: Any, identity: dict[str, str], total: float) -> None:
        self._client = client
        self._identity = identity
        self._action = f"writing to bucket {identity['Bucket']}"
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
        with _translate_upload_errors(f"writing to bucket {bucket}", total):
            response = await client.create_multipart_upload(
                Bucket=bucket,
                Key=key,
                ContentType=content_type,
                ChecksumAlgorithm="CRC32",
                **parameters_of(options),
            )
        identity = {"Bucket": bucket, "Key": key, "UploadId": response["UploadId"]}
        return cls(client, identity, total)

    async def part(self, number: int, body: bytes) -> None:
        """Write a part."""
        crc = await anyio.to_thread.run_sync(zlib.crc32, body)
        checksum = base64.b64encode(crc.to_bytes(4, "big")).decode()
        with _translate_upload_errors(self._action, self._total):
            response = await self._client.upload_part(
                **self._identity,
                PartNumber=number,
                Body=io.BytesIO(
                    body
                ),  # a stream is sent in pieces, so that the loop can do other work
                ContentLength=len(body),
                ChecksumCRC32=checksum,
            )
        self._parts[number] = {
            "PartNumber": number,
            "ETag": response["ETag"],
            "ChecksumCRC32": checksum,
        }
        self._sizes[number] = len(body)

    async def complete(self) -> None:
        """Combine the parts into the object."""
        parts = [self._parts[number] for number in sorted(self._parts)]
        with _translate_upload_errors(self._action, self._total):
            await self._client.complete_multipart_upload(
                **self._identity,
                MultipartUpload={"Parts": parts},
                MpuObjectSize=sum(self._sizes.values()),
            )

    async def abort(self) -> None:
        """Delete the parts; harmless when there are none any more."""
        await _abort(self._client, self._identity, self._total)


async def abort_uploads(client: Any, bucket: str, key: str, *, total: float) -> None:
    """Delete the parts of all uploads of an object that were begun and not completed."""
    with _translate_upload_errors(f"listing uploads to bucket {bucket}", total):
        response = await client.list_multipart_uploads(Bucket=bucket, Prefix=key)
    for upload in response.get("Uploads", ()):
        if upload["Key"] == key:
            identity = {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}
            await _abort(client, identity, total)


async def _abort(client: Any, identity: dict[str, str], total: float) -> None:
    action = f"aborting an upload to bucket {identity['Bucket']}"
    try:
        with _translate_upload_errors(action, total):
            await client.abort_multipart_upload(**identity)
    except Transient as error:
        if error.code != _GONE:
            raise


@contextmanager
def _translate_upload_errors(action: str, total: float) -> Iterator[None]:
    """Map errors to ours, see ``translate``.

    An upload that is gone, because something aborted it, may be started again.
    """
    try:
        with translate(action, repeatable=True), anyio.fail_after(total):
            yield
    except Denied as error:
        if error.code != _GONE:
            raise
        raise Transient(f"the upload is gone while {action}", code=_GONE) from error


def parameters_of(options: PutOptions) -> dict[str, Any]:
    """Return the parameters that aioboto3 takes for these options."""
    parameters = {
        "ServerSideEncryption": options.encryption,
        "SSEKMSKeyId": options.kms_key,
        "Tagging": options.tagging,
    }
    return {name: value for name, value in parameters.items() if value is not None}
