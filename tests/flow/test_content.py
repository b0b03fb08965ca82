"""A slice of a file gives its bytes in bounded chunks, or says that the file has changed."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.flow import content as content_
from dispatcher.flow.content import ChangedError, FileSlice

CONTENT = b"0123456789"


def slice_of(path: Path, *, crc: int | None = None, steady: bool = False) -> FileSlice:
    path.write_bytes(b"??" + CONTENT + b"!!")
    file = os.open(path, os.O_RDONLY)
    return FileSlice(file, 2, len(CONTENT), crc=crc, steady=steady)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("steady", [False, True])
@pytest.mark.parametrize("crc", [None, zlib.crc32(CONTENT)])
def test_it_is_read_in_chunks_and_more_than_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crc: int | None, steady: bool
) -> None:
    monkeypatch.setattr(content_, "CHUNK_BYTES", 4)
    content = slice_of(tmp_path / "f", crc=crc, steady=steady)
    assert list(content.chunks()) == [b"0123", b"4567", b"89"]
    assert content.read() == CONTENT
    assert len(content) == content.size == len(CONTENT)
    content.close()


def test_it_is_readable_after_the_file_lost_its_name(tmp_path: Path) -> None:
    content = slice_of(tmp_path / "f", steady=True)
    (tmp_path / "f").unlink()
    assert content.read() == CONTENT
    content.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: os.truncate(path, 7), "5 bytes are missing at 0"),
        (lambda path: path.write_bytes(b"?" * 14), "the file was written to"),
    ],
)
def test_a_changed_file_is_an_error(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    content = slice_of(tmp_path / "f", steady=True)
    change(tmp_path / "f")
    with pytest.raises(ChangedError, match=message):
        content.read()
    content.close()


def test_a_wrong_checksum_is_an_error_after_the_last_chunk(tmp_path: Path) -> None:
    content = slice_of(tmp_path / "f", crc=1)
    chunks = content.chunks()
    assert next(chunks) == CONTENT
    with pytest.raises(ChangedError, match="the checksum is another"):
        next(chunks)
    content.close()


def test_close_is_harmless_when_repeated_and_not_needed(tmp_path: Path) -> None:
    before = open_files()
    content = slice_of(tmp_path / "f")
    assert open_files() == before + 1
    content.close()
    content.close()
    assert open_files() == before
    with pytest.raises(OSError, match="Bad file descriptor"):
        content.read()
    slice_of(tmp_path / "g")  # dropped at once
    assert open_files() == before
