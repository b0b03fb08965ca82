"""A new attempt takes the place of an old one in one transaction, and keeps its payload."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest

from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.replay import Seen
from dispatcher.ledger.states import State
from dispatcher.packing.parcel import Parcel
from dispatcher.packing.spool_format import crc32_of, join_records
from dispatcher.records.record import Position

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Pack = Callable[..., Parcel]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]


async def failed(ledger: Ledger, parcel: Parcel) -> Entry:
    """Plan an invocation that is accepted and fails."""
    (planned,) = await ledger.plan([parcel])
    ledger.accept(planned, 5.0, "s3://out/1.out", "s3://out/1-error.out")
    entry = ledger.find(planned.number)
    assert entry is not None
    assert ledger.claim(entry)
    return entry


async def test_the_new_attempt_is_an_invocation_of_its_own(run: Run, parcel: Pack) -> None:
    async with run(now=lambda: 100.0) as ledger:
        old = await failed(ledger, parcel(0, 3))
        (planned,) = await ledger.replace(old, after=30.0)
        new = ledger.find(planned.number)
        assert new is not None
        assert planned.id != old.planned.id
        assert planned.number > old.planned.number
        assert (new.attempt, new.not_before, new.state) == (2, 130.0, State.PLANNED)
        assert (new.accepted_at, new.output, new.failure, new.acks) == (None, None, None, None)
        assert new.record_refs == old.record_refs
        assert await ledger.payload(new) == parcel(0, 3).payload
        assert ledger.outstanding == 1


async def test_what_is_heard_late_of_the_old_attempt_changes_nothing(
    run: Run, parcel: Pack
) -> None:
    async with run() as ledger:
        old = await failed(ledger, parcel(0))
        (planned,) = await ledger.replace(old, after=0.0)
        assert ledger.find_id(old.planned.id) == (True, None)
        assert not ledger.accept(old.planned, 9.0, "s3://elsewhere", None)
        assert not ledger.claim(old)
        new = ledger.find(planned.number)
        assert new is not None
        assert new.state is State.PLANNED


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_attempts_are_counted_over_restarts(
    run: Run, parcel: Pack, completed: Completed, attempts: int
) -> None:
    async with run() as ledger:
        await failed(ledger, parcel(0, 2))
    for attempt in range(2, attempts + 2):
        async with run() as ledger:
            (entry,) = ledger._entries.values()
            assert entry.attempt == attempt - 1
            ledger.claim(entry)
            await ledger.replace(entry, after=1.0)
    async with run() as ledger:
        (planned,) = ledger.resumed
        entry = ledger._entries[planned.number]
        assert entry.attempt == attempts + 1
        assert await ledger.payload(entry) == parcel(0, 2).payload
        assert ledger.replay.look_up(Position("a.jsonl", 0, 10, 1)) == (Seen.BEHIND, None)
        await ledger.settle(completed(ledger, [planned.number]), {})
        assert ledger.tallies == {}, "as it was at the start"
    async with run() as ledger:
        assert (ledger.outstanding, ledger.tallies) == (0, {"completed": 2})
        assert ledger._spool.size == 0


async def test_the_payload_of_a_replaced_invocation_is_released_with_the_last_attempt(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        old = await failed(ledger, parcel(0))
        (planned,) = await ledger.replace(old, after=0.0)
        assert old.payload is not None
        segment = old.payload.segment
        assert ledger._spool._live[segment] == 1
        await ledger.settle(completed(ledger, [planned.number]), {})
        assert ledger._spool._live[segment] == 0


async def test_parts_take_the_records_in_order_and_are_invocations_of_their_own(
    run: Run, parcel: Pack
) -> None:
    async with run(now=lambda: 100.0) as ledger:
        old = await failed(ledger, parcel(0, 10))
        parts = await apart(ledger, old, 3)
        assert [len(part.record_refs) for part in parts] == [3, 3, 4]
        assert [record_ref for part in parts for record_ref in part.record_refs] == old.record_refs
        assert len({old.planned.id, *(part.planned.id for part in parts)}) == 4
        for part in parts:
            assert (part.attempt, part.first_attempt, part.tries) == (2, 2, 1)
            assert (part.state, part.accepted_at, part.output) == (State.PLANNED, None, None)
            assert part.payload is not None
            assert part.planned.size == part.payload.size
            assert (part.acks, part.staged) == (None, None)
        payloads = [await ledger.payload(part) for part in parts]
        assert payloads == [parcel(n, count).payload for n, count in ((0, 3), (3, 3), (6, 4))]
        assert ledger.find_id(old.planned.id) == (True, None)
        assert not ledger.accept(old.planned, 9.0, "s3://elsewhere", None)


async def test_parts_of_parts_are_found_by_the_next_process_and_counted(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        old = await failed(ledger, parcel(0, 10))
        first, *_ = await apart(ledger, old, 3)
        assert ledger.claim(first)
        await ledger.replace(first, after=1.0, parts=3)
    async with run() as ledger:
        entries = ledger.planned()
        found = sorted((e.record_refs[0].position.start, e.attempt, e.tries) for e in entries)
        assert found == [(0, 3, 1), (10, 3, 1), (20, 3, 1), (30, 2, 1), (60, 2, 1)]
        for entry in entries:
            first_number = entry.record_refs[0].position.start // 10
            wanted = parcel(first_number, len(entry.record_refs)).payload
            assert await ledger.payload(entry) == wanted
            assert ledger.replay.look_up(entry.record_refs[0].position)[0] is Seen.BEHIND
        assert ledger.tallies == {"apart": 2, "parts": 6}
        await ledger.settle(completed(ledger, [e.planned.number for e in entries]), {})
        assert ledger.marks["a.jsonl"].offset == 100
    async with run() as ledger:
        assert (ledger.outstanding, ledger._spool.size) == (0, 0)
        assert ledger.tallies == {"apart": 2, "parts": 6, "completed": 10}


async def test_the_bytes_of_parts_are_released_with_the_last_of_them(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        old = await failed(ledger, parcel(0, 9))
        assert old.payload is not None
        segment = old.payload.segment
        parts = await apart(ledger, old, 3)
        for left, part in enumerate(reversed(parts)):
            assert ledger._spool._live[segment] == 3 - left
            assert await ledger.payload(part) is not None
            await ledger.settle(completed(ledger, [part.planned.number]), {})
        assert ledger._spool._live[segment] == 0


async def test_parts_whose_bytes_went_with_the_power_are_read_again(
    run: Run, parcel: Pack, path: Path
) -> None:
    async with run() as ledger:
        await apart(ledger, await failed(ledger, parcel(0, 6)), 3)
    for segment in path.with_name(path.name + ".spool").glob("*.spool"):
        segment.unlink()
    async with run() as ledger:
        lost = ledger.without_payload()
        assert [len(entry.record_refs) for entry in lost] == [2, 2, 2]
        for entry in lost:
            raws = [b'{"n": %d}' % (s.position.start // 10) for s in entry.record_refs]
            assert crc32_of(join_records(raws)) == entry.crc
            await ledger.restore(entry.planned.number, join_records(raws))
            assert await ledger.payload(entry) == b"\n".join(raws)
        assert ledger.without_payload() == []


async def test_there_is_no_room_while_parts_take_it(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    """Parts come on top of what may be outstanding; nothing is planned until they are settled."""
    async with run(outstanding=40) as ledger:
        one, two, *rest = await ledger.plan([parcel(9 * n, 9) for n in range(40)])
        rooms: list[int] = []

        async def wait_for_room() -> None:
            rooms.append(await ledger.wait_for_room(5))

        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_room)
            await anyio.wait_all_tasks_blocked()
            entry = ledger.find(one.number)
            assert entry is not None
            # Room for a moment, which the parts take before it is given away.
            await ledger.settle(completed(ledger, [two.number]), {})
            assert ledger.claim(entry)
            await apart(ledger, entry, 3)
            await anyio.sleep(0.1)
            assert (ledger.outstanding, rooms) == (41, [])
            await ledger.settle(completed(ledger, [other.number for other in rest[:4]]), {})
        assert rooms == [3]


async def apart(ledger: Ledger, entry: Entry, parts: int) -> list[Entry]:
    planned = await ledger.replace(entry, after=0.0, parts=parts)
    found = [ledger.find(p.number) for p in planned]
    return [part for part in found if part is not None]
