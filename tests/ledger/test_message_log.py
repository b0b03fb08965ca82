"""Messages of a queue are recognised when they come again, also after a restart."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.packing.parcel import Parcel
from dispatcher.reasons import Reason
from dispatcher.records.record import Position, Record

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
QUEUE = "https://sqs/0/in"


def parcel(*numbers: int) -> Parcel:
    records = [Record(position(n), f"k{n}", b"{}") for n in numbers]
    payload = b"\n".join(record.raw for record in records)
    return Parcel(records, payload, "application/jsonlines", "inline")


def position(number: int) -> Position:
    return Position(QUEUE, number, number + 1, number + 1, f"message-{number}")


def done(ledger: Ledger, number: int) -> Settlement:
    entry = ledger.find(number)
    assert entry is not None
    outcomes = [Outcome(s.position, s.key, "completed", b"1", None) for s in entry.record_refs]
    return Settlement(entry, outcomes)


async def test_outstanding_and_settled_messages_survive(run: Run) -> None:
    async with run(now=lambda: 50.0) as ledger:
        log = ledger.messages(QUEUE)
        assert (log.next_number, log.outstanding, log.settled) == (0, {}, {})
        first, _second = await ledger.plan([parcel(0, 1), parcel(2)])
        await ledger.settle([done(ledger, first.number)], {})
        dead = Outcome(position(3), "k3", "rejected", None, None, reason=Reason.BAD_JSON)
        await ledger.settle([Settlement(None, [dead])], {})
    async with run() as ledger:
        log = ledger.messages(QUEUE)
        assert log.next_number == 4
        assert log.outstanding == {"message-2": position(2)}
        assert log.settled == {f"message-{n}": 50.0 for n in (0, 1, 3)}
        assert ledger.messages("https://sqs/0/other").next_number == 0


async def test_what_is_forgotten_is_gone(run: Run) -> None:
    async with run() as ledger:
        (planned,) = await ledger.plan([parcel(0, 1)])
        await ledger.settle([done(ledger, planned.number)], {})
        ledger.messages(QUEUE).forget(["message-0"])
    async with run() as ledger:
        assert ledger.messages(QUEUE).settled.keys() == {"message-1"}


async def test_files_have_no_messages(
    run: Run, parcel: Callable[..., Parcel], completed: Callable[..., list[Settlement]]
) -> None:
    async with run() as ledger:
        (planned,) = await ledger.plan([parcel(0, 5)])
        await ledger.settle(completed(ledger, [planned.number]), {})
    async with run() as ledger:
        assert ledger._store.settled_messages == {}
