"""Multipart uploads: parts that become one object."""

import asyncio
import hashlib
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

from dispatcher.emulator.blob import Blob, new_file
from dispatcher.emulator.http import Refusal

PART_BYTES = 5 * 1024 * 1024
"""Least bytes of any part but the last (D: 5 MiB)."""

PARTS = 10_000
"""Most parts of an upload (D)."""


@dataclass(slots=True)
class Part:
    """One uploaded part.

    Attributes:
        blob: Its bytes.
        etag: MD5 in hexadecimal.
    """

    blob: Blob
    etag: str


@dataclass(slots=True)
class Upload:
    """An upload that is under way.

    Attributes:
        bucket: Where the object will be.
        key: Its key.
        content_type: Its content type.
        metadata: Its user metadata.
        parts: Parts by number.
    """

    bucket: str
    key: str
    content_type: str
    metadata: dict[str, str]
    parts: dict[int, Part] = field(default_factory=dict)

    def discard(self) -> None:
        """Delete all parts."""
        for part in self.parts.values():
            part.blob.discard()
        self.parts.clear()


@dataclass(slots=True)
class Uploads:
    """All uploads under way; those of an ended process are gone.

    Attributes:
        folder: Where the parts of large uploads are joined, or None for memory.
    """

    folder: Path | None
    _open: dict[str, Upload] = field(default_factory=dict)

    def create(self, upload: Upload) -> str:
        """Begin an upload and return its id."""
        upload_id = uuid4().hex
        self._open[upload_id] = upload
        return upload_id

    def get(self, upload_id: str, bucket: str, key: str) -> Upload:
        """Return an upload.

        Raises:
            Refusal: NoSuchUpload.
        """
        upload = self._open.get(upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            raise Refusal(404, "NoSuchUpload", "The specified upload does not exist.")
        return upload

    def put_part(self, upload: Upload, number: int, part: Part) -> None:
        """Keep a part; it replaces one with the same number.

        Raises:
            Refusal: The number is not 1..10000.
        """
        if not 1 <= number <= PARTS:
            raise Refusal(
                400, "InvalidArgument", f"Part number must be an integer between 1 and {PARTS}"
            )
        before = upload.parts.get(number)
        upload.parts[number] = part
        if before is not None:
            before.blob.discard()

    async def join(self, upload_id: str, upload: Upload, chosen: list[tuple[int, str]]) -> Part:
        """Close an upload and return its whole content with its ETag.

        Args:
            upload_id: Its id.
            upload: The upload.
            chosen: Number and ETag of the parts that make the object, in order.

        Raises:
            Refusal: The parts are not those that were uploaded; the upload stays open.
        """
        parts = chosen_parts(upload, chosen)
        del self._open[upload_id]
        try:
            blob = await asyncio.to_thread(_join, [part.blob for part in parts], self.folder)
        finally:
            upload.discard()
        digests = b"".join(bytes.fromhex(part.etag) for part in parts)
        md5 = hashlib.md5(digests, usedforsecurity=False).hexdigest()
        return Part(blob, f"{md5}-{len(parts)}")

    def abort(self, upload_id: str, upload: Upload) -> None:
        """Forget an upload."""
        del self._open[upload_id]
        upload.discard()


def chosen_parts(upload: Upload, chosen: list[tuple[int, str]]) -> list[Part]:
    """Return the parts that a completion names.

    Raises:
        Refusal: InvalidPartOrder, InvalidPart, EntityTooSmall or MalformedXML.
    """
    if not chosen:
        raise Refusal(400, "MalformedXML", "You must specify at least one part.")
    numbers = [number for number, _ in chosen]
    if any(a >= b for a, b in pairwise(numbers)):
        raise Refusal(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
    parts = []
    for number, etag in chosen:
        part = upload.parts.get(number)
        if part is None or part.etag != etag:
            raise Refusal(400, "InvalidPart", "One or more of the specified parts was not found.")
        parts.append(part)
    if any(part.blob.size < PART_BYTES for part in parts[:-1]):
        raise Refusal(
            400,
            "EntityTooSmall",
            "Your proposed upload is smaller than the minimum allowed object size.",
        )
    return parts


def _join(blobs: list[Blob], folder: Path | None) -> Blob:
    if folder is None:
        return Blob.of(b"".join(blob.data for blob in blobs))
    with new_file(folder) as file:
        for blob in blobs:
            file.writelines(blob.blocks())
    return Blob(sum(blob.size for blob in blobs), path=Path(file.name))
