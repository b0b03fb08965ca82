"""Invocations that are planned, accepted and settled are the same in the next process."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import replace
from pathlib import Path
from random import Random
from shutil import rmtree
from sqlite3 import connect

import anyio
import anyio.lowlevel
import pytest

from dispatcher.errors import StateError
from dispatcher.ledger import group_commit
from dispatcher.ledger.check.status import read_status
from dispatcher.ledger.ids import filename
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.levels import LedgerStatistics
from dispatcher.ledger.operations import Remember, SinkMark
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.ledger.replay import Seen
from dispatcher.ledger.states import State
from dispatcher.ledger.store.sqlite import SqliteStore
from dispatcher.packing.parcel import Parcel
from dispatcher.reasons import Reason
from dispatcher.records.source import Mark

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Pack = Callable[..., Parcel]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


def held(ledger: Ledger, numbers: Sequence[int]) -> dict[int, Entry]:
    """Return entries as the next process should see them."""
    entries = {}
    for number in numbers:
        entry = ledger.find(number)
        assert entry is not None
        resumed = replace(entry.planned, may_have_been_sent=True)
        entries[number] = replace(entry, planned=resumed, claimed=False, acks=None, looked_at=None)
    return entries


async def test_a_new_run_knows_nothing_and_the_next_process_is_of_the_same_run(run: Run) -> None:
    async with run() as ledger:
        assert ledger.is_new
        assert (ledger.outstanding, ledger.marks, dict(ledger._store.sinks)) == (0, {}, {})
        tag = ledger.tag
        await ledger.remember(terms="{}")
        assert ledger.fact("terms") == "{}"
    async with run() as ledger:
        assert not ledger.is_new
        assert ledger.tag == tag
        assert ledger.fact("terms") == "{}"
        assert ledger.fact("other") is None


async def test_a_process_killed_before_the_run_had_its_name_has_not_begun_it(
    run: Run, path: Path
) -> None:
    path.parent.mkdir()
    with SqliteStore(path, Spool(path.with_name("ledger.db.spool")), "full") as store:
        store.apply([Remember("created", "1.0")])
    async with run() as ledger:
        assert ledger.is_new
        tag = ledger.tag
    async with run() as ledger:
        assert (ledger.is_new, ledger.tag) == (False, tag)


async def test_what_is_planned_may_be_sent_and_has_its_names(run: Run, parcel: Pack) -> None:
    async with run() as ledger:
        first, second = await ledger.plan([parcel(0), parcel(1, 3)])
        assert (first.number, second.number) == (1, 2)
        assert first.id < second.id
        assert first.id.startswith(f"{ledger.tag}-")
        assert first.shard == second.shard
        assert filename(first.id).endswith(".out")
        assert (second.content_type, second.route) == ("application/jsonlines", "inline")
        assert second.size == len(parcel(1, 3).payload)
        assert not first.may_have_been_sent
        assert (ledger.outstanding, ledger.outstanding_records) == (2, 4)
        entry = ledger.find(2)
        assert entry is not None
        assert entry.planned is second
        assert entry.state is State.PLANNED
        assert await ledger.payload(entry) == parcel(1, 3).payload
        assert await ledger.raws(entry) == [b'{"n": 1}', b'{"n": 2}', b'{"n": 3}']


async def test_the_next_process_finds_the_same_at_each_stage(
    run: Run, parcel: Pack, completed: Completed, dead: Callable[..., Settlement]
) -> None:
    async with run() as ledger:
        tag = ledger.tag
        await ledger.plan([parcel(0), parcel(1, 2), parcel(3), parcel(0, stream="b.jsonl")])
        planned = held(ledger, [1, 2, 3, 4])

    async with run() as ledger:
        assert held(ledger, [1, 2, 3, 4]) == planned
        assert [p.number for p in ledger.resumed] == [1, 2, 3, 4]
        assert ledger.accepted() == []
        assert ledger.marks == {"a.jsonl": Mark(0, 0), "b.jsonl": Mark(0, 0)}
        assert ledger.outstanding_records == 5
        entry = planned[2]
        assert await ledger.raws(entry) == [b'{"n": 1}', b'{"n": 2}']
        for number, failure in ((2, "s3://out/2-error.out"), (3, None)):
            assert ledger.accept(planned[number].planned, 7.5, f"s3://out/{number}", failure)
        accepted = held(ledger, [1, 2, 3, 4])

    async with run() as ledger:
        assert held(ledger, [1, 2, 3, 4]) == accepted
        assert [p.number for p in ledger.resumed] == [1, 4]
        second, third = ledger.accepted()
        assert (second.state, second.accepted_at) == (State.ACCEPTED, 7.5)
        assert (second.output, second.failure) == ("s3://out/2", "s3://out/2-error.out")
        assert third.failure is None
        await ledger.settle(
            [*completed(ledger, [1, 3]), dead(4), dead(5, Reason.BAD_UTF8)],
            {"results": SinkMark(200, 17, 100), "dead_letters": SinkMark(40, 18, 40)},
        )
        left = held(ledger, [2, 4])

    async with run() as ledger:
        assert held(ledger, [2, 4]) == left
        assert (ledger.find(1), ledger.find(3)) == (None, None)
        assert ledger.outstanding == 2
        assert ledger.marks == {"a.jsonl": Mark(10, 1), "b.jsonl": Mark(0, 0)}
        assert dict(ledger.tallies) == {"completed": 2, "dead:bad_json": 1, "dead:bad_utf8": 1}
        assert dict(ledger._store.sinks) == {
            "results": SinkMark(200, 17, 100),
            "dead_letters": SinkMark(40, 18, 40),
        }
        positions = [record.position for record in parcel(1, 6).records]
        assert [ledger.replay.look_up(position)[0] for position in positions] == [
            *[Seen.BEHIND] * 5,
            Seen.NEW,
        ]
        await ledger.settle(completed(ledger, [2, 4]), {"results": SinkMark(260, 3, 260)})
        assert ledger.marks == {"a.jsonl": Mark(60, 6), "b.jsonl": Mark(10, 1)}

    async with run() as ledger:
        assert ledger.outstanding == 0
        assert ledger.marks == {"a.jsonl": Mark(60, 6), "b.jsonl": Mark(10, 1)}
        assert dict(ledger.tallies) == {"completed": 5, "dead:bad_json": 1, "dead:bad_utf8": 1}
        assert ledger._store.sinks["results"] == SinkMark(260, 3, 260)
        assert ledger._store.sinks["dead_letters"] == SinkMark(40, 18, 40)
        assert ledger.tag == tag
        [fifth] = await ledger.plan([parcel(6)])
        assert fifth.number > 4, "a number is never given again, nor is the id made of it"


async def test_what_is_settled_leaves_no_row(
    run: Run, path: Path, parcel: Pack, completed: Completed
) -> None:
    """A record that is stuck does not make the ledger grow with all that settles meanwhile."""
    async with run() as ledger:
        for first in range(0, 500, 50):
            planned = await ledger.plan([parcel(first + n) for n in range(50)])
            await ledger.settle(completed(ledger, [p.number for p in planned if p.number > 1]), {})
        assert ledger.outstanding == 1
    with closing(connect(path)) as db:
        assert db.execute("SELECT count(*) FROM invocation").fetchone() == (1,)
        assert db.execute("SELECT start, stop, line FROM settled_range").fetchall() == [
            (10, 5_000, 500)
        ]


async def test_a_manifest_of_a_thousand_records_comes_back_whole(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        await ledger.plan([parcel(0, 1_000)])
        before = held(ledger, [1])
    async with run() as ledger:
        assert held(ledger, [1]) == before
        entry = ledger.find(1)
        assert entry is not None
        raws = await ledger.raws(entry)
        assert raws == [record.raw for record in parcel(0, 1_000).records]
        await ledger.settle(completed(ledger, [1]), {})
        assert ledger.marks == {"a.jsonl": Mark(10_000, 1_000)}


async def test_a_large_payload_is_read_from_a_thread(run: Run, parcel: Pack) -> None:
    small = parcel(0)
    large = replace(small, payload=b"x" * 300_000)
    async with run() as ledger:
        [planned] = await ledger.plan([large])
        entry = ledger.find(planned.number)
        assert entry is not None
        assert await ledger.payload(entry) == large.payload


# Moves that come late


async def test_only_the_first_acceptance_counts(run: Run, parcel: Pack) -> None:
    async with run() as ledger:
        [planned] = await ledger.plan([parcel(0)])
        assert ledger.accept(planned, 1.5, "s3://out/first", None)
        assert not ledger.accept(planned, 2.5, "s3://out/second", "s3://out/f")
        before = held(ledger, [1])
        assert before[1].output == "s3://out/first"
    async with run() as ledger:
        assert held(ledger, [1]) == before


async def test_a_completion_may_overtake_the_acceptance(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        [planned] = await ledger.plan([parcel(0)])
        await ledger.settle(completed(ledger, [1]), {})
        assert not ledger.accept(planned, 1.5, "s3://out/1", None)
    async with run() as ledger:
        assert ledger.outstanding == 0
        assert dict(ledger.tallies) == {"completed": 1}


async def test_settling_twice_raises_and_stores_nothing(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        await ledger.plan([parcel(0), parcel(1)])
        first = completed(ledger, [1])
        await ledger.settle(first, {})
        with pytest.raises(ValueError, match="is settled already"):
            await ledger.settle(first, {"results": SinkMark(9, 9, 9)})
    async with run() as ledger:
        assert dict(ledger.tallies) == {"completed": 1}
        assert (dict(ledger._store.sinks), ledger.outstanding) == ({}, 1)


async def test_an_invocation_that_is_gone_from_the_file_cannot_be_settled(
    run: Run, path: Path, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        await ledger.plan([parcel(0), parcel(1)])
        with closing(connect(path)) as db, db:
            db.execute("DELETE FROM invocation WHERE number = 1")
        with pytest.raises(StateError, match="2 invocations were to be closed, 1 were there"):
            await ledger.settle(completed(ledger, [1, 2]), {})
    async with run() as ledger:
        assert ledger.outstanding == 1, "nothing of the group was stored"
        assert ledger.marks == {"a.jsonl": Mark(0, 0)}


async def test_one_settles_and_the_others_do_not(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        [planned] = await ledger.plan([parcel(0)])
        entry = ledger.find(1)
        assert entry is not None
        assert ledger.accept(planned, 1.5, None, None)
        assert ledger.accepted() == [entry]
        assert ledger.claim(entry)
        assert not ledger.claim(entry)
        assert ledger.accepted() == [], "the sweeper leaves alone what is being settled"
        entry.claimed = False
        assert ledger.claim(entry)
        assert not ledger.claim(replace(entry, claimed=False)), "not a copy of an entry"
        await ledger.settle(completed(ledger, [1]), {})
        entry.claimed = False
        assert not ledger.claim(entry)


async def test_ids_are_found_and_those_of_others_are_not(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        [planned] = await ledger.plan([parcel(0)])
        assert ledger.find_id(planned.id) == (True, ledger.find(1))
        assert ledger.find_id("4bad2b42") == (False, None)
        await ledger.settle(completed(ledger, [1]), {})
        assert ledger.find_id(planned.id) == (True, None)
        assert ledger.find_id(f"{ledger.tag}-000000000000") == (True, None)


# Waiting


async def test_there_is_room_until_the_limit_and_again_after_a_settlement(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    given: list[int] = []
    async with run(outstanding=3) as ledger, anyio.create_task_group() as group:
        assert await ledger.wait_for_room(2) == 2
        assert await ledger.wait_for_room(5) == 3
        await ledger.plan([parcel(0), parcel(1), parcel(2)])

        async def wait() -> None:
            given.append(await ledger.wait_for_room(9))

        group.start_soon(wait)
        await turns()
        assert given == []
        await ledger.settle(completed(ledger, [2, 3]), {})
        await turns()
        assert given == [2]


async def test_invocations_whose_payload_was_lost_take_no_room_until_it_is_found(
    run: Run, parcel: Pack, tmp_path: Path
) -> None:
    async with run(outstanding=2) as ledger:
        await ledger.plan([parcel(0), parcel(1)])
    for segment in tmp_path.rglob("*.spool"):
        if segment.is_file():
            segment.unlink()
    async with run(outstanding=2) as ledger:
        assert await ledger.wait_for_room(5) == 2
        await ledger.restore(1, parcel(0).payload)
        assert await ledger.wait_for_room(5) == 1


async def test_a_spool_that_is_full_leaves_no_room(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    given: list[int] = []
    large = replace(parcel(0), payload=b"x" * 33_000_000)  # fills a segment, so it can be deleted
    async with run(spool_max=33_000_000) as ledger, anyio.create_task_group() as group:
        await ledger.plan([large])

        async def wait() -> None:
            given.append(await ledger.wait_for_room(1))

        group.start_soon(wait)
        await turns()
        assert given == []
        await ledger.settle(completed(ledger, [1]), {})
        await turns()
        assert given == [1]


async def test_planning_waits_from_the_high_to_the_low_mark(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run(outstanding=40) as ledger:
        planned = await ledger.plan([parcel(n) for n in range(await ledger.wait_for_room(100))])
        assert len(planned) == 40
        rooms: list[int] = []

        async def ask() -> None:
            rooms.append(await ledger.wait_for_room(100))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await ledger.settle(completed(ledger, [1]), {})
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert rooms == [], "one place is not worth a transaction"
            await ledger.settle(completed(ledger, [2]), {})
        assert rooms == [2]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_a_narrow_ledger_always_finds_room(
    run: Run, parcel: Pack, completed: Completed, limit: int
) -> None:
    async with run(outstanding=limit) as ledger:
        for first in range(5):
            planned = await ledger.plan([parcel(first * limit + n) for n in range(limit)])
            await ledger.settle(completed(ledger, [p.number for p in planned]), {})
            with anyio.fail_after(5):
                assert await ledger.wait_for_room(9) == limit


async def test_a_ledger_is_idle_after_the_last_settlement(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    ended = anyio.Event()
    async with run() as ledger, anyio.create_task_group() as group:
        await ledger.wait_until_idle()
        await ledger.plan([parcel(0), parcel(1)])

        async def wait() -> None:
            await ledger.wait_until_idle()
            ended.set()

        group.start_soon(wait)
        await ledger.settle(completed(ledger, [2]), {})
        await turns()
        assert not ended.is_set()
        await ledger.settle(completed(ledger, [1]), {})
        await turns()
        assert ended.is_set()


async def test_acceptances_are_stored_though_nothing_else_is(
    run: Run, path: Path, parcel: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "FLUSH_SECONDS", 0)
    async with run() as ledger:
        [planned] = await ledger.plan([parcel(0)])
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.flush_forever)
            ledger.accept(planned, 1.5, None, None)
            with anyio.fail_after(10):
                while read_status(path).accepted == 0:
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()


# Power loss


async def test_payloads_lost_with_the_power_are_asked_for_and_restored(
    run: Run, path: Path, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        first, _ = await ledger.plan([parcel(0, 2), parcel(2)])
        ledger.accept(first, 1.5, "s3://out/1", None)
    rmtree(path.with_name("ledger.db.spool"))

    async with run() as ledger:
        entry = ledger.find(1)
        assert entry is not None
        assert entry.payload is None
        assert ledger.without_payload() == [entry, ledger.find(2)]
        assert await ledger.payload(entry) is None
        assert await ledger.raws(entry) == [None, None]
        known, owner = ledger.replay.look_up(parcel(0).records[0].position)
        assert known is Seen.LOST
        assert owner is entry
        [third] = await ledger.plan([parcel(3)])  # takes the place where the lost one lay
        await ledger.restore(1, parcel(0, 2).payload)
        assert await ledger.raws(entry) == [b'{"n": 0}', b'{"n": 1}']
        assert [e.planned.number for e in ledger.without_payload()] == [2]

    async with run() as ledger:
        assert [e.planned.number for e in ledger.without_payload()] == [2]
        entry = ledger.find(1)
        assert entry is not None
        assert (entry.state, entry.output) == (State.ACCEPTED, "s3://out/1")
        assert await ledger.payload(entry) == parcel(0, 2).payload
        await ledger.settle(completed(ledger, [1, 2, third.number]), {})
        assert ledger.outstanding == 0


async def test_a_restored_payload_is_released_when_it_is_settled(
    run: Run, path: Path, parcel: Pack, completed: Completed
) -> None:
    spool = path.with_name("ledger.db.spool")
    large = replace(parcel(0), payload=b"x" * 33_000_000)
    async with run() as ledger:
        await ledger.plan([large])
    rmtree(spool)
    async with run() as ledger:
        await ledger.restore(1, large.payload)
        await ledger.settle(completed(ledger, [1]), {})
        assert sum(file.stat().st_size for file in spool.iterdir()) == 0


# Any history


@pytest.mark.parametrize("seed", range(6))
async def test_any_history_over_several_processes_keeps_its_balance(
    run: Run,
    parcel: Pack,
    completed: Completed,
    dead: Callable[..., Settlement],
    seed: int,
) -> None:
    rng = Random(seed)
    ahead = dict.fromkeys(("a.jsonl", "b.jsonl"), 0)
    known: dict[int, Entry] = {}
    settled: dict[str, set[int]] = {stream: set() for stream in ahead}
    total = {"completed": 0, "dead:bad_json": 0}
    numbers: set[int] = set()
    position = 0
    for _ in range(5):
        async with run() as ledger:
            assert held(ledger, list(known)) == known
            assert ledger.outstanding == len(known)
            assert dict(ledger.tallies) == {name: n for name, n in total.items() if n}
            for stream, mark in ledger.marks.items():
                first_gap = next(n for n in range(10_000) if n not in settled[stream])
                assert mark == Mark(first_gap * 10, first_gap)
            assert ledger._store.sinks.get("results", SinkMark(0, 0, 0)).position == position
            for _ in range(rng.randint(1, 12)):
                stream = rng.choice(list(ahead))
                live = sorted(n for n in numbers if ledger.find(n))
                some = rng.sample(live, rng.randint(0, len(live)))
                match rng.choice(["plan", "plan", "accept", "settle", "unreadable"]):
                    case "plan":
                        sizes = [rng.randint(1, 4) for _ in range(rng.randint(1, 3))]
                        parcels = []
                        for size in sizes:
                            parcels.append(parcel(ahead[stream], size, stream=stream))
                            ahead[stream] += size
                        fresh = {planned.number for planned in await ledger.plan(parcels)}
                        assert not fresh & numbers
                        numbers |= fresh
                    case "accept":
                        for number in some:
                            entry = ledger.find(number)
                            assert entry is not None
                            ledger.accept(entry.planned, rng.random(), f"s3://{number}", None)
                    case "settle":
                        settlements = completed(ledger, some)
                        outcomes = [o for s in settlements for o in s.outcomes]
                        for outcome in outcomes:
                            at = outcome.position
                            settled[at.stream].add(at.start // 10)
                        total["completed"] += len(outcomes)
                        position += len(outcomes)
                        await ledger.settle(settlements, {"results": SinkMark(position, 0, 0)})
                    case _:
                        await ledger.settle([dead(ahead[stream], stream=stream)], {})
                        settled[stream].add(ahead[stream])
                        total["dead:bad_json"] += 1
                        ahead[stream] += 1
            known = held(ledger, [n for n in numbers if ledger.find(n)])
            read = sum(ahead.values())
            assert read == sum(total.values()) + ledger.outstanding_records


async def test_what_is_left_to_the_next_process_is_not_waited_for(
    run: Run, parcel: Pack, completed: Completed
) -> None:
    async with run() as ledger:
        await ledger.plan([parcel(0), parcel(1)])
    async with run() as ledger:
        ledger.leave_to_next_process([2, 99])
        with anyio.move_on_after(0):
            await ledger.wait_until_idle()
            raise AssertionError
        await ledger.settle(completed(ledger, [1]), {})
        await ledger.wait_until_idle()
        assert ledger.outstanding == 1
        await ledger.settle(completed(ledger, [2]), {})
        await ledger.wait_until_idle()


async def test_a_ledger_restored_from_a_copy_gives_out_no_number_twice(
    run: Run, path: Path, parcel: Pack
) -> None:
    async with run() as ledger:
        await ledger.plan([parcel(0)])
    copy = path.read_bytes()
    async with run() as ledger:
        [lost] = await ledger.plan([parcel(1)])
    path.write_bytes(copy)
    async with run() as ledger:
        [again] = await ledger.plan([parcel(1)])
        assert again.number != lost.number
        assert again.id != lost.id


# Levels


async def test_levels_are_shown(run: Run, path: Path, parcel: Pack, completed: Completed) -> None:
    async with run(outstanding=9, spool_max=1_000) as ledger:
        first, second, _, _ = await ledger.plan([parcel(0, 2), parcel(2), parcel(3), parcel(4)])
        ledger.accept(first, 1.5, "s3://out/1", None)
        ledger.accept(second, 1.5, "s3://out/2", None)
        entry = ledger.find(2)
        assert entry is not None
        assert ledger.claim(entry)
        ledger.leave_to_next_process([3])
        sizes = [len(parcel(0, 2).payload), *[len(parcel(n).payload) for n in (2, 3, 4)]]
        assert ledger.statistics() == LedgerStatistics(
            outstanding=4,
            max_outstanding=9,
            outstanding_records=5,
            planned=2,
            accepted=2,
            claimed=1,
            left_to_next_process=1,
            without_payload=0,
            waiting_operations=3,
            spool_bytes=sum(sizes),
            max_spool_bytes=1_000,
            fresh_payload_bytes=sum(sizes),
        )
        assert repr(ledger) == f"<Ledger {ledger.tag}: 4 of 9 outstanding, 0 without payload>"
        await ledger.settle(completed(ledger, [1, 2, 3]), {})
        assert (ledger.statistics().outstanding, ledger.statistics().waiting_operations) == (1, 0)
    rmtree(path.with_name("ledger.db.spool"))
    async with run() as ledger:
        assert ledger.statistics().without_payload == 1
        assert repr(ledger).endswith(": 1 of 2000 outstanding, 1 without payload>")
