"""One contract for both object stores, and what the folder survives."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from dispatcher.emulator.http.blob import SPOOL_BYTES, Blob, BlobWriter
from dispatcher.emulator.s3.folder_store import FolderObjects
from dispatcher.emulator.s3.object_options import ObjectOptions
from dispatcher.emulator.s3.store import MemoryObjects, ObjectBytes, ObjectStore, StoredObject
from dispatcher.emulator.state.journal import Journal
from dispatcher.errors import StateError


def stored(data: bytes, content_type: str = "a/b") -> StoredObject:
    etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return StoredObject(Blob.of(data), etag, content_type, 5.0, {"who": "me"}, ("x", "y"))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Let every write to a journal take half of its bytes and the next one fail."""

    @contextmanager
    def full() -> Iterator[None]:
        write = os.write
        calls = 0

        def half(fd: int, data: memoryview) -> int:
            nonlocal calls
            calls += 1
            if calls % 2:
                return write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("dispatcher.emulator.state.journal.os.write", half)
            yield

    return full


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    made = MemoryObjects() if request.param == "memory" else FolderObjects(tmp_path / "state")
    made.create_bucket("b")
    yield made
    made.close()


def test_put_replaces_and_get_finds(store: ObjectStore) -> None:
    store.put("b", "k", stored(b"one"))
    store.put("b", "k", stored(b"two"))
    found = store.get("b", "k")
    assert found
    assert found.blob.read() == b"two"
    assert (found.content_type, found.metadata, found.checksum) == (
        "a/b",
        {"who": "me"},
        ("x", "y"),
    )
    assert store.get("b", "other") is None
    assert store.get("no", "k") is None


@pytest.mark.parametrize("key", ["a", "a/b", "a//b", "../../etc", "/", "ü\n%", "x" * 1024, "."])
def test_any_key_is_good(store: ObjectStore, key: str) -> None:
    store.put("b", key, stored(b"data"))
    assert dict(ObjectBytes(store.buckets["b"])) == {key: b"data"}
    store.delete("b", key)
    store.delete("b", key)
    assert not ObjectBytes(store.buckets["b"])


def test_creating_a_bucket_twice_keeps_its_objects(store: ObjectStore) -> None:
    store.put("b", "k", stored(b"one"))
    store.create_bucket("b")
    assert list(ObjectBytes(store.buckets["b"])) == ["k"]


def test_reader_keeps_an_object_that_is_deleted_meanwhile(store: ObjectStore) -> None:
    data = bytes(range(256)) * 4096
    store.put("b", "k", stored(data))
    found = store.get("b", "k")
    assert found
    blocks = found.blob.blocks()
    first = bytes(next(blocks))
    store.delete("b", "k")
    assert first + b"".join(blocks) == data


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (5, 700_000), (999_999, 1_000_000), (3, 3)])
def test_blocks_are_a_slice(tmp_path: Path, start: int, stop: int) -> None:
    data = bytes(range(250)) * 4000
    path = tmp_path / "f"
    path.write_bytes(data)
    for blob in (Blob.of(data), Blob(len(data), path=path)):
        assert b"".join(blob.blocks(start, stop)) == data[start:stop]


@pytest.mark.parametrize("size", [0, 1, SPOOL_BYTES, SPOOL_BYTES + 1, 3 * SPOOL_BYTES])
def test_spool_goes_to_a_file_when_large(tmp_path: Path, size: int) -> None:
    data = bytes(size)
    spool = BlobWriter(tmp_path)
    for at in range(0, size, 100_000):
        spool.add(data[at : at + 100_000])
    blob = spool.finish()
    assert blob.read() == data
    assert (blob.path is not None) == (size > SPOOL_BYTES)
    blob.discard()
    assert not list(tmp_path.iterdir())


def test_discarded_spool_leaves_no_file(tmp_path: Path) -> None:
    spool = BlobWriter(tmp_path)
    spool.add(bytes(SPOOL_BYTES + 1))
    assert len(list(tmp_path.iterdir())) == 1
    spool.discard()
    assert not list(tmp_path.iterdir())


def test_folder_remembers_over_a_kill(tmp_path: Path) -> None:
    first = FolderObjects(tmp_path)
    first.create_bucket("b")
    for n in range(20):
        first.put("b", f"k{n}", stored(f"{n}".encode()))
    first.put("b", "k0", stored(b"new"))
    first.delete("b", "k1")
    # Not closed: a killed process closes nothing.
    second = FolderObjects(tmp_path)
    expected = {f"k{n}": f"{n}".encode() for n in range(2, 20)} | {"k0": b"new"}
    assert dict(ObjectBytes(second.buckets["b"])) == expected
    second.put("b", "later", stored(b"later"))
    assert second.buckets["b"].objects["k0"].blob.read() == b"new"
    first.close()
    second.close()


def test_folder_remembers_how_an_object_is_kept(tmp_path: Path) -> None:
    first = FolderObjects(tmp_path)
    first.create_bucket("b")
    kept = stored(b"kept")
    kept.keeping = ObjectOptions({"x-amz-server-side-encryption": "AES256"}, {"team": "search"})
    first.put("b", "kept", kept)
    first._journal.append(["put", "b", "old", 0, 0, "e", "a/b", 1.0, {}, None])  # as before
    first.close()
    second = FolderObjects(tmp_path)
    assert second.buckets["b"].objects["kept"].keeping == kept.keeping
    assert second.buckets["b"].objects["old"].keeping == ObjectOptions()
    second.close()


def test_folder_sweeps_what_was_half_done(tmp_path: Path) -> None:
    FolderObjects(tmp_path).close()
    BlobWriter(tmp_path / "incoming").add(bytes(SPOOL_BYTES + 1))
    (tmp_path / "data" / "07" / "12345").write_bytes(b"x")
    FolderObjects(tmp_path).close()
    assert not list((tmp_path / "incoming").iterdir())
    assert not list((tmp_path / "data" / "07").iterdir())


def test_folder_sweeps_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    FolderObjects(tmp_path).close()
    mine = [tmp_path / name for name in ("data/07/a.csv", "data/mine/1", "incoming/b", "data/2")]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    FolderObjects(tmp_path).close()
    assert all(path.exists() for path in mine)


def test_folder_takes_a_spooled_file_without_a_copy(tmp_path: Path) -> None:
    store = FolderObjects(tmp_path)
    store.create_bucket("b")
    spool = BlobWriter(store.spool_folder)
    spool.add(bytes(SPOOL_BYTES + 1))
    blob = spool.finish()
    assert blob.path
    inode = blob.path.stat().st_ino
    store.put("b", "k", StoredObject(blob, "e", "t", 1.0))
    kept = store.buckets["b"].objects["k"].blob.path
    assert kept
    assert kept.stat().st_ino == inode
    store.close()


def test_folder_that_is_a_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"emulator\.state"):
        FolderObjects(tmp_path / "file")


def test_file_where_a_folder_must_be_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StateError, match=r"emulator\.state"):
        FolderObjects(tmp_path)


def test_put_that_cannot_be_journaled_changes_nothing(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    store = FolderObjects(tmp_path)
    store.create_bucket("b")
    store.put("b", "k", stored(b"one"))
    with full_disk():
        with pytest.raises(OSError, match="No space"):
            store.put("b", "k", stored(b"two"))
        with pytest.raises(OSError, match="No space"):
            store.delete("b", "k")
        with pytest.raises(OSError, match="No space"):
            store.create_bucket("c")
    assert dict(ObjectBytes(store.buckets["b"])) == {"k": b"one"}
    assert list(store.buckets) == ["b"]
    store.put("b", "later", stored(b"later"))
    again = FolderObjects(tmp_path)
    assert dict(ObjectBytes(again.buckets["b"])) == {"k": b"one", "later": b"later"}
    store.close()
    again.close()


def test_journal_takes_back_half_an_entry(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(["a"])
    with full_disk(), pytest.raises(OSError, match="No space"):
        journal.append(["b" * 100])
    journal.append(["c"])
    assert list(journal.entries()) == [["a"], ["c"]]
    assert journal.size == (tmp_path / "j").stat().st_size
    journal.close()


def test_journal_survives_a_rewrite_that_fails(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(["a"])
    with full_disk(), pytest.raises(OSError, match="No space"):
        journal.rewrite([["b" * 100]])
    journal.append(["c"])
    assert list(journal.entries()) == [["a"], ["c"]]
    assert journal.size == (tmp_path / "j").stat().st_size
    journal.close()


def test_journal_cuts_a_torn_tail_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path)
    entries = [["a", 1], ["b", b"x" * 1000], ["c", None]]
    for entry in entries:
        journal.append(entry)
    journal.close()
    whole = path.read_bytes()
    for cut in range(len(whole) - 3, len(whole)):
        path.write_bytes(whole[:cut])
        torn = Journal(path)
        assert list(torn.entries()) == entries[:2]
        torn.append(["d"])
        assert list(torn.entries()) == [*entries[:2], ["d"]]
        torn.close()


def test_journal_rewrite_replaces_all(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for n in range(100):
        journal.append([n])
    journal.rewrite([[1], [2]])
    journal.append([3])
    assert list(journal.entries()) == [[1], [2], [3]]
    assert journal.size == (tmp_path / "j").stat().st_size
    journal.close()
