"""The law of writing ahead: everything reported durable is there after a kill -9 at any moment."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

import anyio
import anyio.lowlevel

from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.ledger.replay import Seen
from dispatcher.ledger.states import State
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record
from tests.payloads import codec, joined

STREAM = "a.jsonl"
ROUNDS = 10


def raw(number: int) -> bytes:
    return b'{"n": %d}' % number


def position(number: int) -> Position:
    return Position(STREAM, number * 10, number * 10 + 10, number + 1)


@dataclass
class Reports:
    """The reports of the killed processes, each line printed after it had become durable."""

    planned: dict[int, range] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)

    def add(self, line: str) -> None:
        word, *numbers = line.split()
        if word == "planned":
            number, first, count = map(int, numbers)
            assert number not in self.planned, "a number was given twice"
            self.planned[number] = range(first, first + count)
        else:
            self.settled.update(map(int, numbers))


async def check(ledger: Ledger, reports: Reports) -> None:
    """Compare the ledger with the reports and with itself."""
    entries = {planned.number: ledger.find(planned.number) for planned in ledger.resumed}
    entries |= {entry.planned.number: entry for entry in ledger.accepted()}
    assert len(entries) == ledger.outstanding
    assert ledger.without_payload() == []
    outstanding: set[int] = set()
    for number, entry in entries.items():
        assert entry is not None
        assert entry.state in (State.PLANNED, State.ACCEPTED)
        records = [record_ref.position.start // 10 for record_ref in entry.record_refs]
        assert records == list(reports.planned.get(number, records))
        assert await ledger.raws(entry) == [raw(record) for record in records]
        outstanding.update(records)

    head = ledger.replay.heads.get(STREAM, 0) // 10
    mark = ledger.marks[STREAM].offset // 10 if ledger.marks else 0
    settled = set(range(mark))
    for record in range(mark, head):
        if record not in outstanding:
            assert ledger._marks[STREAM].covers(position(record).start)
            settled.add(record)
        known, _ = ledger.replay.look_up(position(record))
        assert known is Seen.BEHIND, "all payloads are there: nothing is read again"
    assert ledger.replay.look_up(position(head)) == (Seen.NEW, None)
    assert ledger.tallies.get("completed", 0) == len(settled)
    assert ledger._store.sinks.get("results", SinkMark(0, 0, 0)).position == len(settled)

    for number, promised in reports.planned.items():
        assert number in entries or settled.issuperset(promised)
        if number in reports.settled:
            assert number not in entries
    assert not settled & outstanding
    assert settled | outstanding == set(range(head))


async def test_what_was_durable_survives_every_kill(
    run: Callable[..., AbstractAsyncContextManager[Ledger]], path: Path
) -> None:
    rng = Random(11)
    reports = Reports()
    for seed in range(ROUNDS):
        durability = rng.choice(["full", "relaxed"])
        with subprocess.Popen(  # noqa: ASYNC220 - the loop has nothing else to do
            [sys.executable, __file__, str(path), durability, str(seed)],
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            for _ in range(rng.randint(1, 60)):
                line = child.stdout.readline()
                assert line.endswith("\n"), "the process ended by itself"
                reports.add(line)
            child.kill()
            for line in child.stdout:
                if line.endswith("\n"):  # the kill may have cut the last one
                    reports.add(line)
        assert child.returncode == -9
        async with run() as ledger:
            await check(ledger, reports)
    assert len(reports.planned) > 100
    assert reports.settled


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201 - read by the parent


async def work(path: Path, durability: str, seed: int) -> None:
    """Plan and settle without end, from several tasks; runs in a process of its own."""
    rng = Random(seed)
    kept: Literal["full", "relaxed"] = "full" if durability == "full" else "relaxed"
    async with open_ledger(path, codec=codec("lines"), durability=kept, outstanding=40) as ledger:
        ahead = ledger.replay.heads.get(STREAM, 0) // 10
        done = ledger.tallies.get("completed", 0)

        async def plan() -> None:
            nonlocal ahead
            while True:
                parcels = []
                for _ in range(await ledger.wait_for_room(rng.randint(1, 3))):
                    numbers = range(ahead, ahead + rng.randint(1, 4))
                    ahead = numbers.stop
                    records = [Record(position(n), n, raw(n)) for n in numbers]
                    payload = joined("lines", [record.raw for record in records])
                    parcels.append(Parcel(records, payload, "application/jsonlines", "inline"))
                planned = await ledger.plan(parcels)
                for invocation, parcel in zip(planned, parcels, strict=True):
                    first = parcel.records[0].position.start // 10
                    say("planned", invocation.number, first, len(parcel.records))
                    if rng.random() < 0.7:
                        ledger.accept(invocation, 1.5, f"s3://out/{invocation.id}", None)

        async def settle() -> None:
            nonlocal done
            while True:
                await anyio.lowlevel.checkpoint()
                live = list(ledger._entries.values())
                chosen = rng.sample(live, min(len(live), rng.randint(1, 4)))
                claimed = [entry for entry in chosen if ledger.claim(entry)]
                settlements = [
                    Settlement(
                        entry,
                        [
                            Outcome(s.position, s.key, "completed", b"", None)
                            for s in entry.record_refs
                        ],
                    )
                    for entry in claimed
                ]
                if settlements:
                    done += sum(len(entry.record_refs) for entry in claimed)
                    await ledger.settle(settlements, {"results": SinkMark(done, 0, 0)})
                    say("settled", *(entry.planned.number for entry in claimed))

        async with anyio.create_task_group() as group:
            for task in (plan, plan, settle, settle, ledger.flush_forever):
                group.start_soon(task)


if __name__ == "__main__":
    anyio.run(work, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
