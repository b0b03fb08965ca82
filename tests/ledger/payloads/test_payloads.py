"""Where the bytes of outstanding invocations are made: quick ones in place, others on a thread."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import anyio.to_thread
import pytest

from dispatcher.config.packing import Encoding, Framing
from dispatcher.ledger.invocation import Entry, Planned, RecordRef, SpoolRef
from dispatcher.ledger.payloads.payloads import Payloads
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.packing.codec import Codec
from dispatcher.packing.spool_format import join_records
from dispatcher.records.record import Position
from tests.payloads import packing


@dataclass
class Kept:
    """In place of a spool: has one payload."""

    content: bytes

    def read(self, _ref: SpoolRef) -> bytes:
        return self.content


def entry_of(raws: list[bytes], encoding: Encoding) -> tuple[Entry, Spool]:
    kept = join_records(raws)
    planned = Planned(1, "id", "shard", "application/json", "inline", len(kept), encoding=encoding)
    record_refs = [
        RecordRef(Position("in", n, n + 1, n), n, len(raw)) for n, raw in enumerate(raws)
    ]
    return Entry(planned, record_refs, SpoolRef(1, 0, len(kept), 0), 0, 0.0), cast(
        "Spool", Kept(kept)
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
async def test_what_takes_long_is_made_anew_on_a_thread(
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
