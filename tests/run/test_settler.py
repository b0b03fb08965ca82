"""The settler: files before the ledger, the ledger before the receipts, nothing after a failure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.jsonl.sink import JsonlFile, JsonlSink
from dispatcher.connectors.jsonl.source import JsonlSource
from dispatcher.connectors.outcome_lines import dead_letter_line, result_line
from dispatcher.errors import StateError
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.packing.adaptive_batch_size import BatchSize
from dispatcher.reasons import Reason, Status
from dispatcher.records.record import Position
from dispatcher.run.settler import Settler, learned_batch_size

if TYPE_CHECKING:
    from tests.completion.scene import Scene


class Watched(JsonlFile):
    """A file that logs what is done to it."""

    log: list[str]
    name: str

    def append(self, lines: Sequence[bytes | Iterable[bytes]]) -> SinkMark:
        self.log.append(f"append {self.name} {len(lines)}")
        return super().append(lines)

    def sync(self) -> None:
        self.log.append(f"sync {self.name}")
        super().sync()


class Acknowledged(JsonlSource):
    """A source that logs what it may forget."""

    def __init__(self, settings: SourceSettings, *, log: list[str]) -> None:
        super().__init__(settings)
        self.log = log

    def acknowledge(self, positions: Iterable[Position]) -> None:
        self.log.append(f"acknowledge {len(list(positions))}")


def _result(outcome: Outcome) -> bytes:
    return result_line(outcome, "output", meta=False)


@dataclass
class Desk:
    """A settler, its two files, and what happened in which order."""

    scene: Scene
    folder: Path
    log: list[str] = field(default_factory=list)
    durable: bool = True
    source: Acknowledged = field(init=False)

    def __post_init__(self) -> None:
        self.source = Acknowledged(SourceSettings(path=["in"]), log=self.log)
        self.results, self.dead = self._file("results"), self._file("dead")
        self.settler = Settler(
            results=JsonlSink(self.results, _result, durable=self.durable),
            dead_letters=JsonlSink(self.dead, dead_letter_line, durable=self.durable),
            ledger=self.scene.ledger,
            source=self.source,
            batch_size=BatchSize(),
            observe=self.scene.meter.observe,
            now=self.scene.now,
        )

    def _file(self, name: str) -> Watched:
        file = Watched.open(str(self.folder / f"{name}.jsonl"), None)
        file.log, file.name = self.log, name
        return file

    async def run(self, *groups: list[Settlement]) -> list[list[str]]:
        give, settlements = anyio.create_memory_object_stream[list[Settlement]](100)
        receipts, to_delete = anyio.create_memory_object_stream[list[str]](100)
        with give, to_delete:
            for group in groups:
                give.send_nowait(group)
            give.close()
            try:
                await self.settler.run(settlements, receipts)
            finally:
                acknowledged = [group async for group in to_delete]
                self.log += [f"receipts {' '.join(group)}" for group in acknowledged]
            return acknowledged

    def lines(self, name: str) -> list[dict[str, object]]:
        text = (self.folder / f"{name}.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def desk(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(scene, tmp_path)
    settle = Ledger.settle

    async def logged(
        self: Ledger, settlements: Sequence[Settlement], sinks: dict[str, SinkMark]
    ) -> None:
        made.log.append(f"ledger {sorted(Path(path).stem for path in sinks)}")
        await settle(self, settlements, sinks)
        made.log.append("settled")

    monkeypatch.setattr(Ledger, "settle", logged)
    return made


def settlement(entry: Entry, status: Status = "completed", *acks: str) -> Settlement:
    entry.acks = list(acks) or None
    reason = None if status == "completed" else Reason.MODEL_ERROR
    return Settlement(
        entry,
        [
            Outcome(ref.position, ref.key, status, b"1", None, reason=reason)
            for ref in entry.record_refs
        ],
    )


async def test_the_order_that_makes_a_crash_harmless(desk: Desk) -> None:
    good, bad = await desk.scene.accepted(2)
    await desk.run([settlement(good, "completed", "r1")], [settlement(bad, "failed", "r2")])
    assert desk.log == [
        "append results 1",
        "sync results",
        "append dead 1",
        "sync dead",
        "ledger ['dead', 'results']",
        "settled",
        "acknowledge 2",
        "receipts r1 r2",
    ]
    assert desk.lines("results") == [{"key": "key-0", "status": "completed", "output": 1}]
    assert [line["key"] for line in desk.lines("dead")] == ["key-1"]


async def test_the_ledger_knows_how_far_the_files_are_written(desk: Desk) -> None:
    good, bad = await desk.scene.accepted(2)
    given: dict[str, SinkMark] = {}
    settle = Ledger.settle

    async def remembered(
        self: Ledger, settlements: Sequence[Settlement], sinks: dict[str, SinkMark]
    ) -> None:
        given.update(sinks)
        await settle(self, settlements, sinks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "settle", remembered)
        await desk.run([settlement(good), settlement(bad, "expired")])
    for file in (desk.results, desk.dead):
        assert given[file.path] == file.mark
    assert given[desk.results.path].position == (desk.folder / "results.jsonl").stat().st_size > 0


async def test_only_files_that_grew_are_written(desk: Desk) -> None:
    (good,) = await desk.scene.accepted()
    await desk.run([settlement(good)])
    assert desk.log[:4] == ["append results 1", "sync results", "ledger ['results']", "settled"]


async def test_relaxed_does_not_sync(desk: Desk) -> None:
    relaxed = Desk(desk.scene, desk.folder / "relaxed", desk.log, durable=False)
    (good,) = await desk.scene.accepted()
    await relaxed.run([settlement(good)])
    assert desk.log[:3] == ["append results 1", "ledger ['results']", "settled"]


async def test_what_waits_is_written_together(desk: Desk) -> None:
    entries = await desk.scene.accepted(50)
    acknowledged = await desk.run(
        *[[settlement(entry, "completed", f"r{n}")] for n, entry in enumerate(entries)]
    )
    assert desk.log[:3] == ["append results 50", "sync results", "ledger ['results']"]
    assert acknowledged == [[f"r{n}" for n in range(50)]]
    assert [line["key"] for line in desk.lines("results")] == [f"key-{n}" for n in range(50)]


async def test_a_group_is_closed_when_it_is_large(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.run.settler._GROUP_RECORDS", 20)
    entries = await desk.scene.accepted(50)
    await desk.run(*[[settlement(entry)] for entry in entries])
    appended = [line for line in desk.log if line.startswith("append")]
    assert appended == ["append results 20", "append results 20", "append results 10"]


async def test_records_that_never_were_in_an_invocation(desk: Desk) -> None:
    outcome = Outcome(
        Position("in", 0, 10, 1), "in:1", "rejected", None, None, reason=Reason.BAD_JSON
    )
    assert await desk.run([Settlement(None, [outcome])]) == []
    assert [line["reason"] for line in desk.lines("dead")] == ["bad_json"]
    assert desk.scene.ledger.marks["in"].offset == 10


async def test_counters_move_after_the_fact(desk: Desk) -> None:
    first, second, failed = await desk.scene.accepted(3)
    (overtaken,) = await desk.scene.plan(1)
    await anyio.sleep(3)
    await desk.run(
        [settlement(first), settlement(second), settlement(failed, "failed"), settlement(overtaken)]
    )
    meter = desk.scene.meter
    assert (meter.completed, meter.dead) == (3, 1)
    assert desk.scene.ledger.outstanding == 0
    assert meter.dead_reasons == {"model_error": 1}
    assert (meter.completion_latency.count, meter.completion_latency.total) == (3, 9.0)


async def test_a_packed_invocation_that_was_not_split_has_one_bad_record_at_least(
    desk: Desk,
) -> None:
    seen: list[tuple[int, int]] = []
    desk.settler.batch_size.observe = (  # type: ignore[method-assign]
        lambda *observed: seen.append(observed)
    )
    good, bad = await desk.scene.accepted(2)
    (packed,) = await desk.scene.plan(50)
    never = Outcome(
        Position("in", 990, 999, 99), "x", "rejected", None, None, reason=Reason.BAD_JSON
    )
    group = [settlement(good), settlement(bad, "failed"), settlement(packed, "failed")]
    await desk.run([*group, Settlement(None, [never])])
    assert seen == [(53, 2)]


def test_the_share_of_bad_records_is_known_again_from_the_tallies() -> None:
    tallies = {"completed": 9_000, "dead:model_error": 1_000, "dead:bad_json": 1, "parts": 99_999}
    assert (
        learned_batch_size(tallies).limit(1_000)
        == BatchSize(bad=1_000, records=10_001).limit(1_000)
        < 10
    )
    assert learned_batch_size({"completed": 10, "dead:no_staging": 500}).limit(1_000) == 1_000


@pytest.mark.parametrize("broken", ["results", "ledger"])
async def test_a_failure_acknowledges_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    entries = await desk.scene.accepted(2)

    def full(*_arguments: object) -> None:
        raise StateError("the disk is full")

    if broken == "results":
        monkeypatch.setattr(desk.results, "append", full)
    else:
        monkeypatch.setattr(desk.scene.ledger._store, "apply", full)
    with pytest.raises(StateError, match="the disk is full"):
        await desk.run([settlement(entry, "completed", "r") for entry in entries])
    assert [
        line for line in desk.log if line.startswith(("receipts", "settled", "acknowledge"))
    ] == []
    assert desk.scene.meter.completed == 0
    assert desk.scene.ledger.outstanding == 2


async def test_a_group_that_is_begun_is_ended_though_cancelled(desk: Desk) -> None:
    (entry,) = await desk.scene.accepted()
    with anyio.CancelScope() as scope:
        write = desk.results.append

        def cancelled_meanwhile(lines: Sequence[bytes | Iterable[bytes]]) -> SinkMark:
            scope.cancel()
            return write(lines)

        desk.results.append = cancelled_meanwhile  # type: ignore[method-assign]  # to be in time
        await desk.run([settlement(entry, "completed", "r")])
    assert desk.scene.ledger.outstanding == 0
    assert len(desk.lines("results")) == 1
