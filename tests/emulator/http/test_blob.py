"""Bytes in memory and in files."""

from pathlib import Path

import pytest

from dispatcher.emulator.http.blob import SPOOL_BYTES, Blob, BlobWriter


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
