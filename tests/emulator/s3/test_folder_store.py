"""The object store in a folder: killed processes, full disks."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dispatcher.emulator.http.blob import SPOOL_BYTES, BlobWriter
from dispatcher.emulator.s3.folder_store import FolderObjects
from dispatcher.emulator.s3.object_options import ObjectOptions
from dispatcher.emulator.s3.store import ObjectBytes, StoredObject
from dispatcher.errors import StateError
from tests.emulator.s3.examples import stored_object


def test_folder_remembers_over_a_kill(tmp_path: Path) -> None:
    first = FolderObjects(tmp_path)
    first.create_bucket("b")
    for n in range(20):
        first.put("b", f"k{n}", stored_object(f"{n}".encode()))
    first.put("b", "k0", stored_object(b"new"))
    first.delete("b", "k1")
    # Not closed: a killed process closes nothing.
    second = FolderObjects(tmp_path)
    expected = {f"k{n}": f"{n}".encode() for n in range(2, 20)} | {"k0": b"new"}
    assert dict(ObjectBytes(second.buckets["b"])) == expected
    second.put("b", "later", stored_object(b"later"))
    assert second.buckets["b"].objects["k0"].blob.read() == b"new"
    first.close()
    second.close()


def test_folder_remembers_how_an_object_is_kept(tmp_path: Path) -> None:
    first = FolderObjects(tmp_path)
    first.create_bucket("b")
    kept = stored_object(b"kept")
    kept.options = ObjectOptions({"x-amz-server-side-encryption": "AES256"}, {"team": "search"})
    first.put("b", "kept", kept)
    first._journal.append(["put", "b", "old", 0, 0, "e", "a/b", 1.0, {}, None])  # as before
    first.close()
    second = FolderObjects(tmp_path)
    assert second.buckets["b"].objects["kept"].options == kept.options
    assert second.buckets["b"].objects["old"].options == ObjectOptions()
    second.close()


def test_folder_sweeps_unfinished_files(tmp_path: Path) -> None:
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
    store.put("b", "k", StoredObject(blob=blob, etag="e", content_type="t", modified=1.0))
    kept = store.buckets["b"].objects["k"].blob.path
    assert kept
    assert kept.stat().st_ino == inode
    store.close()


def test_folder_that_is_a_file_shows_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"emulator\.state"):
        FolderObjects(tmp_path / "file")


def test_file_where_a_folder_must_be_shows_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StateError, match=r"emulator\.state"):
        FolderObjects(tmp_path)


def test_put_that_cannot_be_journaled_changes_nothing(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    store = FolderObjects(tmp_path)
    store.create_bucket("b")
    store.put("b", "k", stored_object(b"one"))
    with full_disk():
        with pytest.raises(OSError, match="No space"):
            store.put("b", "k", stored_object(b"two"))
        with pytest.raises(OSError, match="No space"):
            store.delete("b", "k")
        with pytest.raises(OSError, match="No space"):
            store.create_bucket("c")
    assert dict(ObjectBytes(store.buckets["b"])) == {"k": b"one"}
    assert list(store.buckets) == ["b"]
    store.put("b", "later", stored_object(b"later"))
    again = FolderObjects(tmp_path)
    assert dict(ObjectBytes(again.buckets["b"])) == {"k": b"one", "later": b"later"}
    store.close()
    again.close()
