"""A run with a line of its files for each settled record, for the readers of its ledger."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from dispatcher.connectors.jsonl.sink import JsonlFile
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record
from tests.payloads import codec, joined

QUEUE = "https://sqs/0/in"


@dataclass
class Run:
    """An open ledger with its two files, in which each settled record has a line."""

    ledger: Ledger
    results: JsonlFile
    dead: JsonlFile

    async def plan(self, first: int, count: int, stream: str) -> Planned:
        records = [
            Record(position(n, stream), f"k{n}", b"%d" % n) for n in range(first, first + count)
        ]
        payload = joined("lines", [record.raw for record in records])
        parcel = Parcel(records, payload, "application/jsonlines", "inline")
        return (await self.ledger.plan([parcel]))[0]

    async def settle(self, planned: Planned, *, reason: str = "") -> None:
        entry = self.entry(planned)
        outcomes = [outcome(record_ref.position, reason) for record_ref in entry.record_refs]
        await self._settle(Settlement(entry, outcomes))

    async def reject(self, number: int, stream: str) -> None:
        await self._settle(Settlement(None, [outcome(position(number, stream), "bad_json")]))

    async def _settle(self, settlement: Settlement) -> None:
        file = self.results if settlement.outcomes[0].status == "completed" else self.dead
        mark = file.append([b'{"key":"%b"}' % str(o.key).encode() for o in settlement.outcomes])
        await self.ledger.settle([settlement], {file.path: mark})

    def entry(self, planned: Planned) -> Entry:
        entry = self.ledger.find(planned.number)
        assert entry is not None
        return entry


def position(number: int, stream: str) -> Position:
    message = f"m{number}" if stream == QUEUE else None
    return Position(stream, number * 10, number * 10 + 10, number + 1, message)


def outcome(at: Position, reason: str = "") -> Outcome:
    status = "failed" if reason else "completed"
    return Outcome(at, f"k{at.line}", status, b"1", None, reason=reason)  # type: ignore[arg-type]


async def keep(folder: Path, story: Callable[[Run], object]) -> None:
    """Let a story happen in the ledger of a folder."""
    files = [str(folder / name) for name in ("results.jsonl", "dead.jsonl")]
    async with open_ledger(
        folder / "ledger.db", codec=codec("lines"), durability="relaxed"
    ) as ledger:
        opened = [JsonlFile.open(path, ledger.sink(path)) for path in files]
        with closing(opened[0]), closing(opened[1]):
            for file in opened:
                if ledger.sink(file.path) is None:
                    await ledger.adopt(file.path, file.mark)
            await story(Run(ledger, *opened))  # type: ignore[misc]


async def everything(run: Run) -> None:
    """Do some of all that can be done, with gaps above the marks."""
    for stream in ("a.jsonl", "b.jsonl", QUEUE):
        planned = [await run.plan(3 * n, 3, stream) for n in range(8)]
        run.ledger.accept(planned[0], 5.0, "s3://out/0.out", "s3://out/0.err")
        run.ledger.accept(planned[5], 6.0, None, None)
        for n in (1, 2, 4):
            await run.settle(planned[n])
        await run.settle(planned[6], reason="model_error")
        assert run.ledger.claim(run.entry(planned[5]))
        await run.ledger.replace(run.entry(planned[5]), after=60.0)
        assert run.ledger.claim(run.entry(planned[7]))
        await run.ledger.replace(run.entry(planned[7]), after=0.0, parts=2)
        await run.reject(30, stream)
    await run.settle(await run.plan(0, 4, "c.jsonl"))
    await run.ledger.remember(terms="{}", heads="{}", finished="no")
