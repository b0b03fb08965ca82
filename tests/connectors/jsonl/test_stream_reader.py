"""One step reads one block, so that no thread works longer than that."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.jsonl.stream_reader import BLOCK_BYTES, StreamReader
from dispatcher.errors import StateError
from dispatcher.records.source import START, Mark


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "input"


@pytest.fixture
def file(path: Path) -> Iterator[int]:
    path.touch()
    handle = os.open(path, os.O_RDWR)
    yield handle
    os.close(handle)


def reader_of(file: int, mark: Mark = START) -> StreamReader:
    return StreamReader(name="f", file=file, settings=SourceSettings(path=["f"]), mark=mark)


def test_a_step_without_a_record_reads_one_block_only(path: Path, file: int) -> None:
    path.write_bytes(b"\n" * (3 * BLOCK_BYTES) + b"1\n")
    reader = reader_of(file)
    for block in (1, 2, 3):
        assert reader.step() == []
        assert reader.consumed == block * BLOCK_BYTES
        assert not reader.ended
    (item,) = reader.step()
    assert item.position.line == 3 * BLOCK_BYTES + 1
    assert reader.step() == []
    assert reader.ended


def test_what_lies_before_the_mark_of_a_compressed_file_is_skipped_in_steps(
    path: Path, file: int
) -> None:
    noise = os.urandom(4 * BLOCK_BYTES).hex().encode()
    path.write_bytes(gzip.compress(b'"%b"\n1\n' % noise, 1))
    reader = reader_of(file, Mark(len(noise) + 3, 1))
    steps = 0
    while not (batch := reader.step()):
        steps += 1
    assert steps >= 4
    assert [item.raw for item in batch] == [b"1"]


def test_a_plain_file_is_not_read_before_its_mark(path: Path, file: int) -> None:
    path.write_bytes(b"1\n" * BLOCK_BYTES)
    reader = reader_of(file, Mark(2 * BLOCK_BYTES - 2, BLOCK_BYTES - 1))
    assert reader.consumed == 2 * BLOCK_BYTES - 2
    (item,) = reader.step()
    assert item.position.line == BLOCK_BYTES


def test_the_batches_of_one_block_need_no_further_reading(path: Path, file: int) -> None:
    path.write_bytes(b"1\n" * 5000)
    reader = reader_of(file)
    assert reader.needs_input
    sizes = []
    for _ in range(3):
        sizes.append(len(reader.step()))
        assert reader.consumed == 10_000
    assert sizes == [2000, 2000, 1000]
    assert reader.needs_input
    assert not reader.ended


def test_files_are_not_waited_for_but_pipes_are(file: int) -> None:
    assert not reader_of(file).may_block
    out, into = os.pipe()
    try:
        assert reader_of(out).may_block
    finally:
        os.close(out)
        os.close(into)


def test_a_disk_error_stops_the_run(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(StateError, match=r"f cannot be read any further \(Is a directory\)"):
            reader_of(folder).step()
    finally:
        os.close(folder)
