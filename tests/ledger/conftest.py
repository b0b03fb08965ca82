"""A run's ledger on a real file, and what is planned and settled in it.

Record ``n`` of a stream lies at bytes ``10 * n`` to ``10 * n + 10`` and has the key ``k<n>``.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.packing.parcel import Parcel
from dispatcher.reasons import Reason
from dispatcher.records.record import Position, Record
from tests.payloads import codec, joined

PLANNED_AT = 1_000.5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def run(path: Path) -> Callable[..., AbstractAsyncContextManager[Ledger]]:
    """Open the ledger, as often as a test likes: each time is a process of the same run."""

    def _run(**settings: Any) -> AbstractAsyncContextManager[Ledger]:
        given = {"durability": "relaxed", "now": lambda: PLANNED_AT, **settings}
        return open_ledger(path, codec=codec("lines"), **given)

    return _run


def _position(number: int, stream: str) -> Position:
    return Position(stream, number * 10, number * 10 + 10, number + 1)


@pytest.fixture
def parcel() -> Callable[..., Parcel]:
    """Pack the records ``first`` to ``first + count`` of a stream."""

    def _parcel(first: int, count: int = 1, *, stream: str = "a.jsonl") -> Parcel:
        records = [
            Record(_position(n, stream), f"k{n}", b'{"n": %d}' % n)
            for n in range(first, first + count)
        ]
        payload = joined("lines", [record.raw for record in records])
        return Parcel(records, payload, "application/jsonlines", "inline")

    return _parcel


@pytest.fixture
def completed() -> Callable[[Ledger, Sequence[int]], list[Settlement]]:
    """Settle outstanding invocations, given by their numbers, as completed."""

    def _completed(ledger: Ledger, numbers: Sequence[int]) -> list[Settlement]:
        return [_settlement(ledger, number) for number in numbers]

    return _completed


def _settlement(ledger: Ledger, number: int) -> Settlement:
    entry = ledger.find(number)
    assert isinstance(entry, Entry)
    return Settlement(
        entry,
        [
            Outcome(s.position, s.key, "completed", b"1", "application/json")
            for s in entry.record_refs
        ],
    )


@pytest.fixture
def dead() -> Callable[..., Settlement]:
    """Settle a record that never was in an invocation."""

    def _dead(
        number: int, reason: Reason = Reason.BAD_JSON, *, stream: str = "a.jsonl"
    ) -> Settlement:
        at = _position(number, stream)
        return Settlement(None, [Outcome.dead(at, f"k{number}", reason, "no record")])

    return _dead
