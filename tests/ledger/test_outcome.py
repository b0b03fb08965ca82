"""Settlements weigh what they hold in memory, and are counted by status, reason and message."""

import os
from pathlib import Path

from dispatcher.flow.content import FileSlice
from dispatcher.ledger.outcome import Meta, Outcome, Settlement, messages_of, tallies_of
from dispatcher.records.record import Position


def outcome(start: int = 0, **fields: object) -> Outcome:
    at = Position("in", start, start + 1, start + 1, fields.pop("message_name", None))  # type: ignore[arg-type]
    given = {"status": "completed", "output": None, "output_type": None, **fields}
    return Outcome(at, start, **given)  # type: ignore[arg-type]


def dead(reason: str) -> Outcome:
    return outcome(status="failed", reason=reason)


def test_a_settlement_weighs_the_bytes_in_memory(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 50)
    large = FileSlice(os.open(tmp_path / "large", os.O_RDONLY), 0, 50)
    outcomes = [
        outcome(output=b"123", input=b"12345"),
        outcome(output=b"1"),
        outcome(input=large),
    ]
    assert Settlement(None, outcomes).size == 9
    large.close()


def test_records_are_counted_by_reason() -> None:
    settlements = [
        Settlement(None, [outcome(), outcome(), dead("model_error")]),
        Settlement(None, [dead("model_error"), dead("expired")]),
        Settlement(None, [outcome()]),
    ]
    assert tallies_of(settlements) == {"completed": 3, "dead:model_error": 2, "dead:expired": 1}
    assert tallies_of([]) == {}
    assert "completed" not in tallies_of(settlements[1:2])


def test_only_records_of_a_queue_have_messages() -> None:
    queue = Settlement(None, [outcome(n, message_name=f"m{n}") for n in range(2)])
    assert messages_of([queue, queue]) == {"in": ["m0", "m1", "m0", "m1"]}
    assert messages_of([Settlement(None, [outcome()])]) == {}


def test_meta_has_the_attempts_of_its_record() -> None:
    document = Meta("id", "s3", 1.0, None, 3.0).document(2)
    assert document == {
        "invocation_id": "id",
        "route": "s3",
        "attempts": 2,
        "planned": 1.0,
        "accepted": None,
        "settled": 3.0,
    }
