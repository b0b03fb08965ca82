"""Payloads are encoded again in place where that is quick, and on a thread where it is not."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, cast

import anyio.to_thread
import pytest

from dispatcher.config.packing import Encoding, Framing
from dispatcher.ledger.invocation import Entry, Planned, RecordRef, SpoolRef
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.payloads.payloads import Payloads
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.packing.codec import Codec
from dispatcher.packing.parcel import Parcel
from dispatcher.packing.spool_format import join_records
from dispatcher.records.record import Position
from tests.payloads import packing

Run = Callable[..., AbstractAsyncContextManager[Ledger]]


@dataclass
class OnePayload:
    """In place of a spool: has one payload."""

    content: bytes

    def read(self, _ref: SpoolRef) -> bytes:
        return self.content


def entry_of(raws: list[bytes], encoding: Encoding) -> tuple[Entry, Spool]:
    spooled = join_records(raws)
    planned = Planned(
        1, "id", "shard", "application/json", "inline", len(spooled), encoding=encoding
    )
    record_refs = [
        RecordRef(Position("in", n, n + 1, n), n, len(raw)) for n, raw in enumerate(raws)
    ]
    return Entry(planned, record_refs, SpoolRef(1, 0, len(spooled), 0), 0, 0.0), cast(
        "Spool", OnePayload(spooled)
    )


@pytest.fixture
def hopped(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what is done on worker threads."""
    hopped: list[object] = []

    async def run_sync(function: Callable[..., Any], *arguments: Any) -> Any:
        hopped.append(function)
        return function(*arguments)

    monkeypatch.setattr(anyio.to_thread, "run_sync", run_sync)
    return hopped


@pytest.mark.parametrize(
    ("encoding", "size", "is_hopped"),
    [
        ("json", 1_000, False),
        ("json", 300_000, True),
        ("json+gzip", 1_000, True),
        ("json+zstd", 1_000, True),
        ("msgpack", 1_000, True),
    ],
)
async def test_a_payload_that_takes_long_is_encoded_on_a_thread(
    hopped: list[object], encoding: Encoding, size: int, is_hopped: bool
) -> None:
    raws = [b"1" * 5, b'"%b"' % (b"x" * size)]
    entry, spool = entry_of(raws, encoding)
    framing: Framing = "msgpack-array" if encoding == "msgpack" else "lines"
    codec = Codec(packing(framing, encodings=[encoding]), content_type=None)
    payloads = Payloads(spool, codec)
    assert await payloads.read(entry) == codec.payload(raws, encoding)
    assert len(hopped) == is_hopped
    hopped.clear()
    assert await payloads.raws(entry) == raws
    assert bool(hopped) is (size > 256_000)


async def test_what_is_lost_is_nothing(hopped: list[object]) -> None:
    entry, spool = entry_of([b"1"], "json+gzip")
    codec = Codec(packing("lines", encodings=["json+gzip"]), content_type=None)
    payloads = Payloads(spool, codec)
    assert await payloads.read(replace(entry, payload=None)) is None
    assert await payloads.raws(replace(entry, payload=None)) == [None]
    assert hopped == []


async def test_payloads_stay_in_memory_until_they_are_asked_for(
    run: Run, parcel: Callable[..., Parcel], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(parcel(0).payload)
    monkeypatch.setattr("dispatcher.ledger.payloads.payloads._MAX_FRESH_BYTES", 2 * size)
    async with run() as ledger:
        planned = await ledger.plan([parcel(n) for n in range(3)])
        entries = [entry for p in planned if (entry := ledger.find(p.number))]
        assert ledger._payloads.fresh_bytes == 2 * size
        for _ in range(2):
            for n, entry in enumerate(entries):
                assert await ledger.payload(entry) == parcel(n).payload
            assert (ledger._payloads._fresh, ledger._payloads.fresh_bytes) == ({}, 0)
