"""One contract for both object stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.emulator.s3.folder_store import FolderObjects
from dispatcher.emulator.s3.store import MemoryObjects, ObjectBytes, ObjectStore
from tests.emulator.s3.examples import stored_object


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    made = MemoryObjects() if request.param == "memory" else FolderObjects(tmp_path / "state")
    made.create_bucket("b")
    yield made
    made.close()


def test_put_replaces_and_get_finds(store: ObjectStore) -> None:
    store.put("b", "k", stored_object(b"one"))
    store.put("b", "k", stored_object(b"two"))
    stored = store.get("b", "k")
    assert stored
    assert stored.blob.read() == b"two"
    assert (stored.content_type, stored.metadata, stored.checksum) == (
        "a/b",
        {"who": "me"},
        ("x", "y"),
    )
    assert store.get("b", "other") is None
    assert store.get("no", "k") is None


@pytest.mark.parametrize("key", ["a", "a/b", "a//b", "../../etc", "/", "ü\n%", "x" * 1024, "."])
def test_any_key_is_good(store: ObjectStore, key: str) -> None:
    store.put("b", key, stored_object(b"data"))
    assert dict(ObjectBytes(store.buckets["b"])) == {key: b"data"}
    store.delete("b", key)
    store.delete("b", key)
    assert not ObjectBytes(store.buckets["b"])


def test_creating_a_bucket_twice_keeps_its_objects(store: ObjectStore) -> None:
    store.put("b", "k", stored_object(b"one"))
    store.create_bucket("b")
    assert list(ObjectBytes(store.buckets["b"])) == ["k"]


def test_reader_keeps_an_object_that_is_deleted_meanwhile(store: ObjectStore) -> None:
    data = bytes(range(256)) * 4096
    store.put("b", "k", stored_object(data))
    stored = store.get("b", "k")
    assert stored
    blocks = stored.blob.blocks()
    first = bytes(next(blocks))
    store.delete("b", "k")
    assert first + b"".join(blocks) == data
