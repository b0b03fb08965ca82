"""Multipart uploads: parts that become one object."""

import asyncio
import base64
import hashlib
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

from dispatcher.emulator.http.blob import Blob, new_file
from dispatcher.emulator.http.message import Refusal, whole_number
from dispatcher.emulator.s3.checksums import digest_of
from dispatcher.emulator.s3.object_options import ObjectOptions

MIN_PART_BYTES = 5 * 1024 * 1024
"""Minimum bytes of any part but the last (D: 5 MiB)."""

MAX_PARTS = 10_000
"""Maximum parts of an upload (D)."""


@dataclass(slots=True)
class Part:
    """One uploaded part.

    Attributes:
        blob: Its bytes.
        etag: MD5 in hexadecimal.
        checksum: Header name and value of the ``x-amz-checksum-*`` that came with it, or None; for
            a whole object, the checksum of its parts' checksums.
    """

    blob: Blob
    etag: str
    checksum: tuple[str, str] | None = None


@dataclass(slots=True, frozen=True)
class NamedPart:
    """A part as a completion names it.

    Attributes:
        number: Its number.
        etag: Its ETag, without quotes.
        checksums: Its checksums by the names of their headers, where it names them.
    """

    number: int
    etag: str
    checksums: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Upload:
    """An upload that is under way.

    Attributes:
        bucket: Where the object will be.
        key: Its key.
        content_type: Its content type.
        metadata: Its user metadata.
        options: Its encryption and its tags.
        is_composite: Its checksum is that of its parts' checksums.
        parts: Parts by number.
    """

    bucket: str
    key: str
    content_type: str
    metadata: dict[str, str]
    options: ObjectOptions = field(default_factory=ObjectOptions)
    is_composite: bool = True
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

    def of(self, bucket: str, prefix: str) -> list[tuple[str, str]]:
        """Return key and id of the uploads under way to keys of a bucket, in order."""
        return sorted(
            (upload.key, upload_id)
            for upload_id, upload in self._open.items()
            if upload.bucket == bucket and upload.key.startswith(prefix)
        )

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
        if not 1 <= number <= MAX_PARTS:
            raise Refusal(
                400, "InvalidArgument", f"Part number must be an integer between 1 and {MAX_PARTS}"
            )
        before = upload.parts.get(number)
        upload.parts[number] = part
        if before is not None:
            before.blob.discard()

    async def join(self, upload_id: str, upload: Upload, named: list[NamedPart], size: str) -> Part:
        """Close an upload and return its whole content with its ETag.

        Args:
            upload_id: Its id.
            upload: The upload.
            named: The parts that make the object, in order.
            size: How many bytes the object is said to have, or nothing.

        Raises:
            Refusal: The parts are not those that were uploaded; the upload stays open.
        """
        parts = named_parts(upload, named)
        if size and whole_number(size) != sum(part.blob.size for part in parts):
            raise Refusal(
                400,
                "InvalidRequest",
                f"The provided 'x-amz-mp-object-size' header value {size} does not match what was "
                "computed.",
            )
        del self._open[upload_id]
        try:
            blob = await asyncio.to_thread(_join, [part.blob for part in parts], self.folder)
        finally:
            upload.discard()
        digests = b"".join(bytes.fromhex(part.etag) for part in parts)
        md5 = hashlib.md5(digests, usedforsecurity=False).hexdigest()
        checksum = composite([part.checksum for part in parts]) if upload.is_composite else None
        return Part(blob, f"{md5}-{len(parts)}", checksum)

    def abort(self, upload_id: str, upload: Upload) -> None:
        """Forget an upload."""
        del self._open[upload_id]
        upload.discard()


def named_parts(upload: Upload, named: list[NamedPart]) -> list[Part]:
    """Return the parts that a completion names.

    Raises:
        Refusal: InvalidPartOrder, InvalidPart, EntityTooSmall or MalformedXML.
    """
    if not named:
        raise Refusal(400, "MalformedXML", "You must specify at least one part.")
    numbers = [part.number for part in named]
    if any(a >= b for a, b in pairwise(numbers)):
        raise Refusal(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
    parts = []
    for name in named:
        part = upload.parts.get(name.number)
        if part is None or part.etag != name.etag or not _agree(part, name):
            raise Refusal(400, "InvalidPart", "One or more of the specified parts was not found.")
        parts.append(part)
    if any(part.blob.size < MIN_PART_BYTES for part in parts[:-1]):
        raise Refusal(
            400,
            "EntityTooSmall",
            "Your proposed upload is smaller than the minimum allowed object size.",
        )
    return parts


def _agree(part: Part, named: NamedPart) -> bool:
    """Return whether the checksums that a completion names are those of the part."""
    name, value = part.checksum or ("", "")
    return named.checksums.get(name, value) == value


def composite(checksums: list[tuple[str, str] | None]) -> tuple[str, str] | None:
    """Return the checksum of the parts' checksums, where all have the same kind that is known.

    As S3 makes it: over the bytes of the parts' ones, with their number behind a dash.
    """
    known = [checksum for checksum in checksums if checksum is not None]
    names = {name for name, _ in known}
    if len(known) < len(checksums) or len(names) != 1:
        return None
    (name,) = names
    together = b"".join(base64.b64decode(value) for _, value in known)
    digest = digest_of(name, together)
    return None if digest is None else (name, f"{digest}-{len(known)}")


def _join(blobs: list[Blob], folder: Path | None) -> Blob:
    if folder is None:
        return Blob.of(b"".join(blob.data for blob in blobs))
    with new_file(folder) as file:
        for blob in blobs:
            file.writelines(blob.blocks())
    return Blob(sum(blob.size for blob in blobs), path=Path(file.name))
