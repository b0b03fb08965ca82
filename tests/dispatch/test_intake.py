"""The head of the line: every record is planned or refused exactly once, over stops and crashes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.jsonl.source import JsonlSource
from dispatcher.dispatch.intake import Intake
from dispatcher.dispatch.resend import ResendQueue
from dispatcher.errors import StateError
from dispatcher.flow.content import FileSlice
from dispatcher.ledger.invocation import Planned
from dispatcher.ledger.outcome import Settlement
from dispatcher.packing.codec import Codec
from dispatcher.packing.packer import Packer
from dispatcher.packing.parcel import Parcel
from dispatcher.reasons import Reason
from dispatcher.records.record import Item, LargeRecord, Position, Record, Unreadable
from dispatcher.records.source import Mark
from tests.payloads import codec

if TYPE_CHECKING:
    from tests.dispatch.scene import OpenScene, Scene

LINES: dict[str, object] = {"framing": "lines", "max_records": 3, "linger": "500ms"}


@dataclass
class Batches:
    """A source of batches; a number is a pause in seconds."""

    batches: list[list[Item] | float]
    bytes_expected: int | None = None
    bytes_read: int = 0
    may_pause: bool = True
    opened: bool = field(default=False, init=False)

    async def open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        self.opened = True
        return {}

    async def read(self) -> list[Item]:
        await anyio.lowlevel.checkpoint()
        while self.batches:
            batch = self.batches.pop(0)
            if isinstance(batch, list):
                self.bytes_read += len(batch)
                return batch
            await anyio.sleep(batch)
        return []

    async def aclose(self) -> None:
        self.opened = False

    async def run(self) -> None: ...

    def stop(self) -> None: ...

    def acknowledge(self, positions: Iterable[Position]) -> None: ...

    async def finish(self) -> None: ...


def record(number: int, raw: bytes | None = None) -> Record:
    position = Position("in", number * 10, number * 10 + 10, number + 1)
    return Record(position, f"key-{number}", b'{"n":%d}' % number if raw is None else raw)


def records(*numbers: int) -> list[Item]:
    return [record(number) for number in numbers]


@dataclass
class Running:
    """An intake under way, and what came out of it so far, with the time."""

    intake: Intake
    planned: list[tuple[float, Planned]] = field(default_factory=list)
    refused: list[Settlement] = field(default_factory=list)
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.planned]

    def keys(self, scene: Scene) -> list[list[object]]:
        return [
            [record_ref.key for record_ref in scene.entry(planned).record_refs]
            for _, planned in self.planned
        ]


@asynccontextmanager
async def started(
    scene: Scene,
    batches: Sequence[list[Item] | float],
    *,
    each_call: float = 0.0,
    first_settlement: float = 0.0,
    may_pause: bool = True,
) -> AsyncIterator[Running]:
    """Run an intake; ``each_call`` and ``first_settlement`` are seconds that others keep it."""
    intents, to_send = anyio.create_memory_object_stream[Planned](0)
    settlements, to_settle = anyio.create_memory_object_stream[list[Settlement]](0)
    packing = scene.config.packing
    resend = ResendQueue(scene.ledger, scene.now)
    intake = Intake(
        source=Batches(list(batches), may_pause=may_pause),
        packer=Packer(
            packing,
            Codec(packing, content_type=None),
            staging=scene.config.staging.bucket is not None,
        ),
        ledger=scene.ledger,
        resend=resend.add,
        intents=intents.clone(),
        settlements=settlements,
        memory=scene.memory,
        split_budget=scene.split_budget,
        observe=scene.meter.observe,
        monotonic=anyio.current_time,
    )
    running = Running(intake)
    began = anyio.current_time()

    drained = anyio.Event()
    drained.set()

    async def run() -> None:
        await intake.run()
        await anyio.sleep(0.001)  # what is due by now has left
        resend.close()
        running.ended.set()

    async def receive_planned() -> None:
        async with to_send:
            async for planned in to_send:
                running.planned.append((anyio.current_time() - began, planned))
                await anyio.sleep(each_call)

    async def receive_refused() -> None:
        async with to_settle:
            await anyio.sleep(first_settlement)
            async for group in to_settle:
                running.refused += group

    async with anyio.create_task_group() as group:
        group.start_soon(receive_planned)
        group.start_soon(receive_refused)
        group.start_soon(resend.run, intents, drained)
        group.start_soon(run)
        yield running


async def finish(
    scene: Scene,
    batches: Sequence[list[Item] | float],
    *,
    first_settlement: float = 0.0,
    may_pause: bool = True,
) -> Running:
    async with started(
        scene, batches, first_settlement=first_settlement, may_pause=may_pause
    ) as running:
        pass
    assert running.ended.is_set()
    return running


async def test_records_are_durable_before_they_are_handed_on(scene: Scene) -> None:
    running = await finish(scene, [records(0, 1), records(2)])
    assert running.keys(scene) == [["key-0"], ["key-1"], ["key-2"]]
    assert [planned.may_have_been_sent for _, planned in running.planned] == [False] * 3
    assert scene.meter.read == 3
    assert scene.split_budget.read == scene.ledger.outstanding == 3
    assert (scene.meter.records, scene.meter.invocations) == ({"inline": 3}, {"inline": 3})
    assert scene.meter.payload_bytes == {"inline": 21}


async def test_what_cannot_be_sent_is_a_settlement_of_its_own(open_scene: OpenScene) -> None:
    unreadable = Unreadable(
        record(0).position, "in:1", b"\xff", Reason.BAD_UTF8, "line 1 is not UTF-8"
    )
    nameless = Unreadable(record(1).position, "in:2", b"", Reason.TOO_LARGE, "line 2 is too long")
    large = record(2, b"7" * 128_001)
    async with open_scene(staging={}) as scene:
        running = await finish(scene, [[unreadable, nameless, large, record(3)]])
        assert running.keys(scene) == [["key-3"]]
        assert [settlement.entry for settlement in running.refused] == [None] * 2
        refused = [
            (o.key, o.status, o.reason, o.input, o.attempts)
            for settlement in running.refused
            for o in settlement.outcomes
        ]
        assert refused == [
            ("in:1", "rejected", "bad_utf8", b"\xff", 0),
            ("in:2", "rejected", "too_large", None, 0),
            ("key-2", "rejected", "no_staging", large.raw, 0),
        ]
        assert scene.meter.read == 4


async def test_an_open_payload_goes_when_it_has_waited_long_enough(open_scene: OpenScene) -> None:
    async with open_scene(packing=LINES) as scene:
        running = await finish(scene, [records(0), 0.2, records(1), 9.0, records(2), 9.0])
        assert running.keys(scene) == [["key-0", "key-1"], ["key-2"]]
        assert running.times == pytest.approx([0.5, 9.7])


async def test_a_full_payload_goes_at_once_and_the_end_flushes(open_scene: OpenScene) -> None:
    async with open_scene(packing=LINES) as scene:
        running = await finish(scene, [records(0, 1, 2, 3, 4)])
        assert running.keys(scene) == [["key-0", "key-1", "key-2"], ["key-3", "key-4"]]
        assert running.times == [0.0, 0.0]


async def test_a_payload_opened_while_the_flush_waited_keeps_its_own_time(
    open_scene: OpenScene,
) -> None:
    bad = Unreadable(record(1).position, "in:2", b"", Reason.BAD_JSON, "line 2 is no JSON")
    async with open_scene(packing=LINES) as scene:
        batches: list[list[Item] | float] = [records(0), 0.3, [bad, *records(2, 3, 4)], 9.0]
        running = await finish(scene, batches, first_settlement=1.0)
        assert running.keys(scene) == [["key-0", "key-2", "key-3"], ["key-4"]]
        assert running.times == pytest.approx([1.0, 1.5])


async def test_a_payload_never_waits_for_files_that_are_read_slowly(open_scene: OpenScene) -> None:
    async with open_scene(packing=LINES) as scene:
        batches: list[list[Item] | float] = [records(0), 9.0, records(1), 9.0, records(2), 9.0]
        running = await finish(scene, batches, may_pause=False)
        assert running.keys(scene) == [["key-0", "key-1", "key-2"]]


async def test_pipes_may_pause_and_files_may_not(tmp_path: Path) -> None:
    path, pipe = tmp_path / "in.jsonl", tmp_path / "pipe"
    path.write_bytes(b"{}\n")
    os.mkfifo(pipe)
    for paths, may_pause in (([path], False), ([path, pipe], True)):
        source = JsonlSource(SourceSettings(path=[str(each) for each in paths]))
        await source.open({}, {})
        assert source.may_pause is may_pause


async def test_an_open_payload_is_not_cut_while_planning_is_held_back(
    open_scene: OpenScene,
) -> None:
    """The limit holds each of them back for a minute, and the source was never silent."""
    packed = []
    async with open_scene(packing=LINES, limits={"outstanding": 1}) as scene:
        batches: list[list[Item] | float] = [records(0, 1, 2, 3), 0.1, records(4, 5, 6), records(7)]
        async with started(scene, [*batches, 0.3, records(8, 9), 9.0]) as running:
            while not running.ended.is_set():
                await anyio.sleep(60)
                packed += running.keys(scene)
                (planned,) = (invocation for _, invocation in running.planned)
                running.planned.clear()
                await scene.settle(planned.number)
        assert packed == [
            ["key-0", "key-1", "key-2"],
            ["key-3", "key-4", "key-5"],
            ["key-6", "key-7", "key-8"],
            ["key-9"],
        ]


async def test_silence_before_and_after_it_was_held_back_counts_together(
    open_scene: OpenScene,
) -> None:
    bad = Unreadable(record(1).position, "in:2", b"", Reason.BAD_JSON, "line 2 is no JSON")
    async with open_scene(packing=LINES) as scene:
        batches: list[list[Item] | float] = [records(0), 0.3, [bad], 9.0]
        running = await finish(scene, batches, first_settlement=60)
        assert running.keys(scene) == [["key-0"]]
        assert running.times == pytest.approx([60.2])


async def test_nothing_is_planned_beyond_the_limit_of_outstanding(open_scene: OpenScene) -> None:
    async with open_scene(limits={"outstanding": 2}) as scene:
        async with started(scene, [records(0, 1, 2, 3, 4)]) as running:
            await anyio.sleep(60)
            assert len(running.planned) == scene.ledger.outstanding == 2
            assert scene.meter.read == 2
            await scene.settle(running.planned[0][1].number)
            await anyio.sleep(60)
            assert len(running.planned) == 3
            await scene.settle(*(planned.number for _, planned in running.planned[1:]))
            await running.ended.wait()
        assert len(running.planned) == 5
        assert running.times == [0.0, 0.0, 60.0, 120.0, 120.0]


async def test_the_next_process_skips_what_is_known(open_scene: OpenScene) -> None:
    everything = records(0, 1, 2, 3)
    async with open_scene() as scene:
        running = await finish(scene, [everything[:3]])
        settled, accepted, planned = (invocation for _, invocation in running.planned)
        await scene.settle(settled.number)
        scene.ledger.accept(accepted, 1.0, "s3://out/x", None)
    async with open_scene() as scene:
        running = await finish(scene, [everything[1:2], everything[2:]])
        assert running.keys(scene) == [["key-2"], ["key-3"]]
        assert running.planned[0][1].id == planned.id
        assert [invocation.may_have_been_sent for _, invocation in running.planned] == [True, False]
        assert scene.meter.read == 1, "records of earlier processes were counted by them"
        assert scene.ledger.outstanding == 3


async def test_a_stop_in_the_middle_loses_nothing_and_repeats_nothing(
    open_scene: OpenScene,
) -> None:
    everything = [record(number) for number in range(5)]
    async with open_scene(packing={**LINES, "linger": "1h"}) as scene:
        async with started(scene, [list(everything), 1e6]) as running:
            await anyio.sleep(1)
            running.intake.stop()
            await running.ended.wait()
        assert running.keys(scene) == [["key-0", "key-1", "key-2"]]
        assert scene.meter.read == 3
        scene.ledger.accept(running.planned[0][1], 1.0, None, None)
    async with open_scene(packing=LINES) as scene:
        running = await finish(scene, [list(everything)])
        assert running.keys(scene) == [["key-3", "key-4"]]


async def test_what_is_durable_is_handed_on_though_stopped(scene: Scene) -> None:
    async with started(scene, [records(0, 1, 2, 3), records(4)], each_call=1.0) as running:
        await anyio.sleep(0.5)
        assert len(running.planned) == 1
        assert scene.ledger.outstanding == 4
        running.intake.stop()
    assert running.keys(scene) == [["key-0"], ["key-1"], ["key-2"], ["key-3"]]
    assert scene.meter.read == 4


async def test_a_stop_while_the_limit_holds_back_ends_at_once(open_scene: OpenScene) -> None:
    async with open_scene(limits={"outstanding": 1}) as scene:
        async with started(scene, [records(0, 1)]) as running:
            await anyio.sleep(1)
            running.intake.stop()
            await running.ended.wait()
        assert running.keys(scene) == [["key-0"]]


async def test_a_stop_before_the_start_reads_nothing(scene: Scene) -> None:
    async with started(scene, [records(0)]) as running:
        running.intake.stop()
    assert running.planned == []
    assert running.ended.is_set()


async def test_senders_that_are_gone_do_not_hold_up_the_end(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        intents, to_send = anyio.create_memory_object_stream[Planned](0)
        settlements, to_settle = anyio.create_memory_object_stream[list[Settlement]](0)
        intake = Intake(
            source=Batches([records(0, 1)]),
            packer=Packer(scene.config.packing, codec(), staging=False),
            ledger=scene.ledger,
            resend=ResendQueue(scene.ledger, scene.now).add,
            intents=intents,
            settlements=settlements,
            memory=scene.memory,
            split_budget=scene.split_budget,
            observe=scene.meter.observe,
            monotonic=anyio.current_time,
        )

        async def busy_sender() -> None:
            async with to_send, to_settle:
                await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(busy_sender)
            group.start_soon(intake.run)
            await anyio.sleep(1)
            group.cancel_scope.cancel()
        assert scene.ledger.outstanding == 2
    async with open_scene() as scene:
        assert len(scene.ledger.resumed) == 2


def lose_the_spool(tmp_path: Path) -> None:
    for segment in (tmp_path / "ledger.db.spool").glob("*.spool"):
        segment.write_bytes(bytes(segment.stat().st_size))


@pytest.mark.parametrize("packing", [{}, LINES, {"framing": "json-array", "max_records": 2}])
async def test_payloads_lost_with_the_power_are_read_again_and_sent(
    open_scene: OpenScene, tmp_path: Path, packing: dict[str, object]
) -> None:
    everything = [record(number) for number in range(5)]
    async with open_scene(packing=packing) as scene:
        running = await finish(scene, [list(everything)])
        before = [planned for _, planned in running.planned]
        payloads = [await scene.ledger.payload(scene.entry(planned)) for planned in before]
        scene.ledger.accept(before[0], 1.0, None, None)
    lose_the_spool(tmp_path)
    async with open_scene(packing=packing) as scene:
        assert len(scene.ledger.without_payload()) == len(before)
        running = await finish(scene, [list(everything[:2]), list(everything[2:])])
        assert [planned.id for _, planned in running.planned] == [
            planned.id for planned in before[1:]
        ]
        assert [planned.may_have_been_sent for _, planned in running.planned] == [True] * (
            len(before) - 1
        )
        assert [await scene.ledger.payload(scene.entry(planned)) for planned in before] == payloads
        assert scene.ledger.outstanding == len(before)
        assert scene.meter.read == 0


async def test_what_ledgers_of_schema_2_kept_and_lost_is_read_again_as_they_kept_it(
    open_scene: OpenScene, tmp_path: Path
) -> None:
    everything = [record(number) for number in range(3)]
    payload = b"[" + b",".join(one.raw for one in everything) + b"]"
    packing = {**LINES, "framing": "json-array"}
    async with open_scene(packing=packing) as scene:
        (planned,) = await scene.ledger.plan(
            [Parcel(everything, payload, "application/json", "inline")]
        )
    lose_the_spool(tmp_path)
    async with open_scene(packing=packing) as scene:
        running = await finish(scene, [list(everything)])
        assert [one.id for _, one in running.planned] == [planned.id]
        entry = scene.entry(planned)
        assert await scene.ledger.payload(entry) == payload
        assert await scene.ledger.raws(entry) == [one.raw for one in everything]


@pytest.mark.parametrize("packing", [{}, LINES])
@pytest.mark.parametrize(
    "after",
    [
        pytest.param([record(0), record(1, b'{"n":9}'), record(2)], id="edited"),
        pytest.param([record(0), record(1)], id="shorter"),
        pytest.param([], id="empty"),
    ],
)
async def test_lost_payloads_and_a_changed_input_stop_the_run(
    open_scene: OpenScene, tmp_path: Path, packing: dict[str, object], after: list[Item]
) -> None:
    async with open_scene(packing=packing) as scene:
        await finish(scene, [records(0, 1, 2)])
    lose_the_spool(tmp_path)
    async with open_scene(packing=packing) as scene:
        with pytest.raises(BaseExceptionGroup) as stopped:
            await finish(scene, [after] if after else [])
        assert stopped.group_contains(StateError, match="the input changed since the run began")
    async with open_scene(packing=packing) as scene:
        assert scene.ledger.outstanding_records == 3, "nothing was forgotten"


async def test_what_completed_while_it_was_read_again_is_left_alone(
    open_scene: OpenScene, tmp_path: Path
) -> None:
    async with open_scene(packing=LINES) as scene:
        await finish(scene, [records(0, 1)])
    lose_the_spool(tmp_path)
    async with open_scene(packing=LINES) as scene:
        async with started(scene, [records(0), 5.0, records(1)]) as running:
            await anyio.sleep(1)
            await scene.settle(1)
        assert running.planned == []
        assert scene.ledger.outstanding == 0


async def test_a_lost_payload_of_records_from_two_files_is_found(
    open_scene: OpenScene, tmp_path: Path
) -> None:
    """Both begin at the first byte of their file."""
    records_of_two = [
        Record(Position(stream, 0, 10, 1), stream, b'{"of":"%b"}' % stream.encode())
        for stream in ("a", "b")
    ]
    async with open_scene(packing=LINES) as scene:
        running = await finish(scene, [list(records_of_two)])
        (planned,) = (planned for _, planned in running.planned)
        payload = await scene.ledger.payload(scene.entry(planned))
    lose_the_spool(tmp_path)
    async with open_scene(packing=LINES) as scene:
        running = await finish(scene, [[records_of_two[0]], [records_of_two[1]]])
        assert [planned.id for _, planned in running.planned] == [planned.id]
        assert await scene.ledger.payload(scene.entry(planned)) == payload


async def test_a_large_record_that_changes_while_it_is_read_stops_the_run(
    open_scene: OpenScene, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"[1, 2]")
    blob = FileSlice(os.open(path, os.O_RDONLY), 0, 6)
    path.write_bytes(b"[1")
    async with open_scene(packing={"encodings": ["msgpack"]}) as scene:
        with pytest.raises(BaseExceptionGroup) as stopped:
            await finish(scene, [[LargeRecord(record(0).position, "key-0", blob)]])
        assert stopped.group_contains(StateError, match="changed while it was read")
    blob.close()


# What is packed on a worker thread

PRESSED: dict[str, object] = {**LINES, "encodings": ["json+zstd"]}


@pytest.fixture
def slow_threads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Let a worker thread pack for five seconds, even after a stop; return what it ran."""
    hopped: list[object] = []
    in_place = anyio.to_thread.run_sync

    async def run_sync(function: Callable[..., Any], *arguments: Any) -> Any:
        if getattr(function, "__name__", "") not in ("add", "flush"):
            return await in_place(function, *arguments)
        await anyio.lowlevel.checkpoint()
        hopped.append(function)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)
            return function(*arguments)

    monkeypatch.setattr(anyio.to_thread, "run_sync", run_sync)
    return hopped


@pytest.mark.parametrize("stop_at", [1.0, 6.0, 11.0, 16.0])
async def test_a_stop_while_a_thread_packs_loses_nothing_and_repeats_nothing(
    open_scene: OpenScene, slow_threads: list[object], stop_at: float
) -> None:
    batches = [records(0, 1, 2, 3), records(4, 5), records(6)]
    all_keys = []
    async with open_scene(packing=PRESSED) as scene:
        async with started(scene, list(batches)) as running:
            await anyio.sleep(stop_at)
            running.intake.stop()
            await running.ended.wait()
        all_keys += running.keys(scene)
        read = scene.meter.read
    async with open_scene(packing=PRESSED) as scene:
        running = await finish(scene, list(batches))
        all_keys += running.keys(scene)
        assert scene.meter.read + read == 7
    assert slow_threads
    # What the first process had planned is there once more, from its ledger.
    assert {key for packed in all_keys for key in packed} == {f"key-{n}" for n in range(7)}
    async with open_scene(packing=PRESSED) as scene:
        record_refs = [
            record_ref.key for entry in scene.ledger.planned() for record_ref in entry.record_refs
        ]
        assert sorted(map(str, record_refs)) == [f"key-{n}" for n in range(7)]


async def test_how_long_a_thread_packs_is_not_silence(
    open_scene: OpenScene, slow_threads: list[object]
) -> None:
    async with open_scene(packing=PRESSED) as scene:
        running = await finish(scene, [records(0), records(1), 9.0])
        assert running.keys(scene) == [["key-0", "key-1"]]
        assert running.times == pytest.approx([15.5])  # two batches, the silence, and the flush
    assert len(slow_threads) == 3


async def test_a_large_record_is_parsed_in_held_memory(
    open_scene: OpenScene, tmp_path: Path, slow_threads: list[object]
) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"[1, 2]")
    blob = FileSlice(os.open(path, os.O_RDONLY), 0, 6)
    large: list[Item] = [LargeRecord(record(0).position, "key-0", blob)]
    async with open_scene(packing={"encodings": ["msgpack"]}) as scene:
        async with started(scene, [large]) as running:
            await anyio.sleep(1)
            assert scene.memory.free == scene.memory.capacity - 6
            await running.ended.wait()
        assert scene.memory.free == scene.memory.capacity
        assert len(running.planned) == 1
    assert len(slow_threads) == 1


async def test_lines_are_spliced_without_a_thread(
    open_scene: OpenScene, slow_threads: list[object]
) -> None:
    async with open_scene(packing=LINES) as scene:
        running = await finish(scene, [records(0, 1, 2, 3)])
        assert running.keys(scene) == [["key-0", "key-1", "key-2"], ["key-3"]]
    assert slow_threads == []
