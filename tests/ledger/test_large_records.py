"""The story of a large record: it is spooled, read and found again as a slice of a file."""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from dispatcher.flow.content import FileSlice
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.packing.parcel import Parcel
from dispatcher.packing.spool_format import crc32_of
from dispatcher.records.record import LargeRecord, Position

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
RAW = b'{"x": "%b"}' % (b"x" * 500)


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let records of 100 bytes be large."""
    for module in ("spool", "payloads"):
        monkeypatch.setattr(f"dispatcher.ledger.payloads.{module}.LARGE_BYTES", 100)


def blob_of(tmp_path: Path) -> FileSlice:
    (tmp_path / "record").write_bytes(RAW)
    return FileSlice(os.open(tmp_path / "record", os.O_RDONLY), 0, len(RAW))


async def planned(ledger: Ledger, tmp_path: Path) -> int:
    blob = blob_of(tmp_path)
    large = LargeRecord(Position("a.jsonl", 0, len(RAW) + 1, 1), "k", blob)
    parcel = Parcel([large], b"", "application/json", "s3", spooled=blob)
    (made,) = await ledger.plan([parcel])
    assert made.size == len(RAW)
    with pytest.raises(OSError, match="Bad file descriptor"):
        blob.read()
    return made.number


async def raw_of(ledger: Ledger, number: int) -> bytes | None:
    entry = ledger.find(number)
    assert entry is not None
    (raw,) = await ledger.raws(entry)
    if raw is None:
        return None
    assert isinstance(raw, FileSlice)
    content = raw.read()
    raw.close()
    return content


async def test_it_is_there_until_it_is_settled_and_as_long_as_it_is_read(
    run: Run, tmp_path: Path
) -> None:
    async with run() as ledger:
        number = await planned(ledger, tmp_path)
        assert await raw_of(ledger, number) == RAW
    async with run() as ledger:
        assert await raw_of(ledger, number) == RAW
        entry = ledger.find(number)
        assert entry is not None
        kept = await ledger.kept(entry)
        assert isinstance(kept, FileSlice)
        at = entry.record_refs[0].position
        outcome = Outcome(at, "k", "completed", b"1", None, input=kept)
        settlement = Settlement(entry, [outcome])
        assert settlement.size == 1, "what is not in memory does not count"
        await ledger.settle([settlement], {})
        assert kept.read() == RAW
        kept.close()


async def test_after_a_power_loss_it_is_found_in_the_source_again(
    run: Run, tmp_path: Path, path: Path
) -> None:
    async with run() as ledger:
        number = await planned(ledger, tmp_path)
    (segment,) = (p for p in path.with_name(path.name + ".spool").iterdir() if p.stat().st_size)
    segment.write_bytes(RAW[:-1] + b"?")
    async with run() as ledger:
        entry = ledger.find(number)
        assert entry is not None
        assert await raw_of(ledger, number) is None
        found = blob_of(tmp_path)
        assert crc32_of(found) == entry.crc
        await ledger.restore(number, found)
        assert await raw_of(ledger, number) == RAW
    async with run() as ledger:
        assert await raw_of(ledger, number) == RAW
