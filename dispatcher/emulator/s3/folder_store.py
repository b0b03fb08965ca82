"""S3 objects as files in a folder, with a journal of their keys."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dispatcher.emulator.http.blob import SPOOL_PREFIX, Blob
from dispatcher.emulator.s3.object_options import ObjectOptions
from dispatcher.emulator.s3.store import ObjectStore, StoredBucket, StoredObject
from dispatcher.emulator.state.journal import Journal
from dispatcher.errors import StateError

_FOLDERS = 256
_SPARE_ENTRIES = 10_000


class FolderObjects(ObjectStore):
    """Keeps each object in a file of its own; survives a killed process.

    Keys may be anything that S3 allows, so files are named by number and the journal holds the
    keys: ``objects.log`` beside ``data/<two digits>/<number>`` and ``incoming/``. A file counts
    only once the journal names it; others are deleted at the next start.

    Args:
        folder: Made where it does not exist; the caller has locked it with ``lock_folder``.

    Raises:
        StateError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folders = [folder / "data" / f"{n:02x}" for n in range(_FOLDERS)]
        self.spool_folder = folder / "incoming"
        try:
            for made in (self.spool_folder, *self._folders):
                made.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"The emulator's state folder {folder} cannot be made ({error.strerror}). "
                "Mend its permissions, or set emulator.state to another folder."
            ) from error
        self._next = 1
        self._journal = Journal(folder / "objects.log")
        for entry in self._journal.entries():
            self._replay(entry)
        self._journal.rewrite(self._entries())
        self._appended = 0
        self._sweep()

    def _path(self, number: int) -> Path:
        return self._folders[number % _FOLDERS] / str(number)

    def _replay(self, entry: list[Any]) -> None:
        match entry:
            case ["bucket", name]:
                self.buckets.setdefault(name, StoredBucket())
            case ["lifecycle", bucket, document]:
                self.buckets[bucket].lifecycle = document
            case ["delete", bucket, key]:
                self.buckets[bucket].remove(key)
            case ["put", bucket, key, number, size, etag, content_type, modified, meta, *more]:
                blob = Blob(size, path=self._path(number))
                self._next = max(self._next, number + 1)
                stored = StoredObject(
                    blob=blob,
                    etag=etag,
                    content_type=content_type,
                    modified=modified,
                    metadata=meta,
                    checksum=tuple(more[0]) if more[0] else None,
                    options=ObjectOptions(*more[1:]),  # journals of older versions have no options
                )
                self.buckets[bucket].set(key, stored)

    def _entries(self) -> Iterator[list[Any]]:
        for name, bucket in self.buckets.items():
            yield ["bucket", name]
            if bucket.lifecycle:
                yield ["lifecycle", name, bucket.lifecycle]
            for key, stored in bucket.objects.items():
                yield self._entry(name, key, stored)

    @staticmethod
    def _entry(bucket: str, key: str, stored: StoredObject) -> list[Any]:
        assert stored.blob.path is not None
        return [
            "put",
            bucket,
            key,
            int(stored.blob.path.name),
            stored.blob.size,
            stored.etag,
            stored.content_type,
            stored.modified,
            stored.metadata,
            stored.checksum,
            stored.options.encryption,
            stored.options.tags,
        ]

    def _sweep(self) -> None:
        kept = {o.blob.path for b in self.buckets.values() for o in b.objects.values()}
        assert self.spool_folder is not None
        # By name, so that files of others are left alone.
        for path in self.spool_folder.glob(f"{SPOOL_PREFIX}*"):
            path.unlink()
        for folder in self._folders:
            for path in folder.iterdir():
                if path.name.isdecimal() and path not in kept:
                    path.unlink()

    def _compact(self) -> None:
        self._appended += 1
        # Overwrites and deletes leave dead entries; the journal must not grow with them.
        if self._appended > _SPARE_ENTRIES + 2 * sum(len(b.objects) for b in self.buckets.values()):
            self._journal.rewrite(self._entries())
            self._appended = 0

    def create_bucket(self, name: str) -> None:
        """Make a bucket where it does not exist."""
        if name not in self.buckets:
            self._journal.append(["bucket", name])
            self.buckets[name] = StoredBucket()

    def put(self, bucket: str, key: str, stored: StoredObject) -> None:
        """Store an object: its file first, then its journal entry."""
        path = self._path(self._next)
        self._next += 1
        if stored.blob.path is None:
            path.write_bytes(stored.blob.data)
        else:
            os.replace(stored.blob.path, path)  # noqa: PTH105 - a rename within the folder
        stored.blob = Blob(stored.blob.size, path=path)
        try:
            self._journal.append(self._entry(bucket, key, stored))
        except OSError:
            path.unlink()
            raise
        before = self.buckets[bucket].set(key, stored)
        if before is not None:
            before.blob.discard()
        self._compact()

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object: its journal entry first, then its file."""
        if key not in self.buckets[bucket].objects:
            return
        self._journal.append(["delete", bucket, key])
        before = self.buckets[bucket].remove(key)
        assert before is not None
        before.blob.discard()
        self._compact()

    def set_lifecycle(self, bucket: str, document: str) -> None:
        """Keep the lifecycle rules of an existing bucket."""
        self._journal.append(["lifecycle", bucket, document])
        super().set_lifecycle(bucket, document)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
