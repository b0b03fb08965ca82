"""Stores of S3 objects: the contract, and the store in memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.s3.listing import SortedKeys
from dispatcher.emulator.s3.object_options import ObjectOptions


@dataclass(slots=True, kw_only=True)
class StoredObject:
    """One object.

    Attributes:
        blob: Its bytes.
        etag: MD5 in hexadecimal, or ``<MD5 of the parts' MD5s>-<parts>``; without quotes.
        content_type: MIME type.
        modified: When it was put, in seconds since the epoch.
        metadata: User metadata without the ``x-amz-meta-`` of its headers.
        checksum: Header name and value of an ``x-amz-checksum-*`` given at the put, or None.
        options: Its encryption and its tags.
    """

    blob: Blob
    etag: str
    content_type: str
    modified: float
    metadata: dict[str, str] = field(default_factory=dict)
    checksum: tuple[str, str] | None = None
    options: ObjectOptions = field(default_factory=ObjectOptions)


class StoredBucket:
    """The objects of one bucket, by key and in order.

    Attributes:
        objects: By key.
        keys: In order.
        lifecycle: The document of its lifecycle rules, or nothing.
    """

    def __init__(self) -> None:
        self.lifecycle = ""
        self.objects: dict[str, StoredObject] = {}
        self.keys = SortedKeys()

    def set(self, key: str, stored: StoredObject) -> StoredObject | None:
        """Put an object and return the one it replaces."""
        before = self.objects.get(key)
        if before is None:
            self.keys.add(key)
        self.objects[key] = stored
        return before

    def remove(self, key: str) -> StoredObject | None:
        """Remove an object and return it; None where there is none."""
        before = self.objects.pop(key, None)
        if before is not None:
            self.keys.remove(key)
        return before


class ObjectStore(ABC):
    """Store of buckets and objects. The blob of a put belongs to the store afterwards.

    Attributes:
        buckets: By name; read it, change it only through the methods.
        spool_folder: Where blobs may be put on their way in, or None for memory.
    """

    spool_folder: Path | None = None

    def __init__(self) -> None:
        self.buckets: dict[str, StoredBucket] = {}

    @abstractmethod
    def create_bucket(self, name: str) -> None:
        """Make a bucket where it does not exist."""

    @abstractmethod
    def put(self, bucket: str, key: str, stored: StoredObject) -> None:
        """Keep an object in an existing bucket; it replaces one with the same key at once."""

    @abstractmethod
    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that does not exist is no error."""

    def set_lifecycle(self, bucket: str, document: str) -> None:
        """Keep the lifecycle rules of an existing bucket; an empty text removes them."""
        self.buckets[bucket].lifecycle = document

    @abstractmethod
    def close(self) -> None:
        """Close files."""

    def get(self, bucket: str, key: str) -> StoredObject | None:
        """Return an object, or None where bucket or object do not exist."""
        stored = self.buckets.get(bucket)
        return None if stored is None else stored.objects.get(key)


class MemoryObjects(ObjectStore):
    """Keeps everything in memory and forgets it at the end."""

    def create_bucket(self, name: str) -> None:
        """Make a bucket where it does not exist."""
        self.buckets.setdefault(name, StoredBucket())

    def put(self, bucket: str, key: str, stored: StoredObject) -> None:
        """Keep an object."""
        self.buckets[bucket].set(key, stored)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object."""
        self.buckets[bucket].remove(key)

    def close(self) -> None:
        """Do nothing: there are no files."""


class ObjectBytes(Mapping[str, bytes]):
    """A bucket as a mapping for tests: keys in order, and the bytes of each object."""

    def __init__(self, bucket: StoredBucket) -> None:
        self._bucket = bucket

    def __getitem__(self, key: str) -> bytes:
        return self._bucket.objects[key].blob.read()

    def __iter__(self) -> Iterator[str]:
        return self._bucket.keys.after("", inclusive=True)

    def __len__(self) -> int:
        return len(self._bucket.objects)
