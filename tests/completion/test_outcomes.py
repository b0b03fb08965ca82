"""Outputs become outcomes: decompressed in held memory, and reshaped for their lines."""

from __future__ import annotations

import gzip
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from dispatcher.aws.location import parse_location
from dispatcher.completion import joiner
from dispatcher.completion.event import Completion
from dispatcher.completion.outcomes import judged, settlement_of
from dispatcher.flow.budget import MemoryBudget
from dispatcher.ledger.payloads import payloads
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record

if TYPE_CHECKING:
    from dispatcher.ledger.invocation import Entry
    from tests.completion.scene import OpenScene, Scene

GZIP = "application/json; encoding=gzip"


def completed(entry: Entry, body: bytes, kind: str | None = "application/json") -> Completion:
    at = parse_location(f"s3://out/{entry.planned.id}.out")
    return Completion("completed", entry.planned.id, at, body=body, content_type=kind)


class Watched(MemoryBudget):
    """A budget that records the largest amount held at once."""

    peak = 0

    async def acquire(self, amount: int) -> int:
        held = await super().acquire(amount)
        self.peak = max(self.peak, self.capacity - self.free)
        return held


async def test_a_compressed_output_holds_the_memory_of_its_content(scene: Scene) -> None:
    content = b'"' + b"x" * 50_000 + b'"'
    body = gzip.compress(content)
    (entry,) = await scene.accepted()
    memory = scene.joiner.memory = scene.memory = Watched(64_000_000)
    outcomes = await scene.join(entry, completed(entry, body, GZIP))
    assert outcomes is not None
    assert (outcomes[0].output, outcomes[0].output_type) == (content, "application/json")
    assert memory.peak == len(body) + len(content)


async def test_compressed_outputs_wait_for_each_others_memory(scene: Scene) -> None:
    body = gzip.compress(b'"' + b"x" * 50_000 + b'"')
    scene.joiner.memory = scene.memory = MemoryBudget(10_000)  # less than one takes
    for entry in await scene.accepted(3):
        assert await scene.join(entry, completed(entry, body, GZIP)) is not None


async def test_a_compressed_output_is_bounded_by_what_is_in_it(open_scene: OpenScene) -> None:
    async with open_scene(completion={"max_output": "10kB"}) as scene:
        (entry,) = await scene.accepted()
        body = gzip.compress(b"x" * 10_001)
        outcomes = await scene.join(entry, completed(entry, body, GZIP))
    assert outcomes is not None
    assert (outcomes[0].status, outcomes[0].reason) == ("failed", "output_too_large")
    assert "10,000" in outcomes[0].message


@pytest.fixture
def hopped(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what is done on worker threads, by function."""
    hopped: list[object] = []
    in_place = anyio.to_thread.run_sync

    async def watched(function: Any, *arguments: Any) -> Any:
        hopped.append(function.func if isinstance(function, partial) else function)
        return await in_place(function, *arguments)

    monkeypatch.setattr(anyio.to_thread, "run_sync", watched)
    return hopped


@pytest.mark.parametrize(("size", "is_hopped"), [(255_998, True), (255_997, False)])
async def test_large_outputs_are_judged_beside_the_loop(
    scene: Scene, hopped: list[object], size: int, is_hopped: bool
) -> None:
    (entry,) = await scene.accepted()
    assert await scene.join(entry, completed(entry, b'"' + b"x" * size + b'"')) is not None
    assert hopped.count(judged) == is_hopped


@pytest.mark.parametrize(("count", "is_hopped"), [(500, True), (499, False)])
async def test_outputs_for_many_records_are_judged_beside_the_loop(
    open_scene: OpenScene, hopped: list[object], count: int, is_hopped: bool
) -> None:
    packing = {"framing": "json-array", "max_records": 500}
    retry = {"bisection": 0, "outcomes": {"model_server_error": {"attempts": 1}}}
    async with open_scene(packing=packing, retry=retry, sink={"select": "output"}) as scene:
        good, bad = await scene.plan(count, count)
        hopped.clear()
        outcomes = await scene.join(good, completed(good, b"[%b]" % b",".join([b"1"] * count)))
        assert outcomes is not None
        assert [outcome.output for outcome in outcomes] == [b"1"] * count
        assert hopped == [judged] * is_hopped
        hopped.clear()
        await scene.join(
            bad,
            Completion("failed", bad.planned.id, None, body=None, content_type=None, reason="no"),
        )
        assert hopped == [judged, settlement_of] * is_hopped


async def test_inputs_that_are_selected_from_count_in_memory_and_go_beside_the_loop(
    open_scene: OpenScene, hopped: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a record that is so large that it is not held otherwise."""
    monkeypatch.setattr(payloads, "LARGE_BYTES", 1_000)
    monkeypatch.setattr(joiner, "LARGE_BYTES", 1_000)
    large = b'{"n":"%b"}' % (b"x" * 300_000)
    async with open_scene(sink={"join": "both", "select": "length(input.n)"}) as scene:
        memory = scene.joiner.memory = scene.memory = Watched(64_000_000)
        record = Record(Position("in", 0, 10, 1), "large", large)
        parcel = Parcel([record], b"", "application/json", "s3", spooled=large)
        (planned,) = await scene.ledger.plan([parcel])
        entry = scene.ledger.find(planned.number)
        assert entry is not None
        hopped.clear()
        outcomes = await scene.join(entry, completed(entry, b"1"))
    assert outcomes is not None
    assert (outcomes[0].output, outcomes[0].input) == (b"300000", None)
    assert memory.peak == 1 + len(large)
    assert hopped[0] is judged


async def test_a_selection_is_the_output(open_scene: OpenScene) -> None:
    select = "[key, status, output.y, input.n, meta.attempts, meta.invocation_id]"
    async with open_scene(sink={"join": "input", "select": select}) as scene:
        (entry,) = await scene.accepted()
        outcomes = await scene.join(entry, completed(entry, b'{"y": 12345678901234567890123}'))
    assert outcomes is not None
    (outcome,) = outcomes
    wanted = b'["key-0","completed",12345678901234567890123,0,1,"%b"]'
    assert outcome.output == wanted % entry.planned.id.encode()
    assert (outcome.is_json, outcome.input, outcome.status) == (True, None, "completed")


@pytest.mark.parametrize("join", ["output", "both"])
async def test_a_selection_that_fails_is_the_fault_of_its_record(
    open_scene: OpenScene, join: str
) -> None:
    packing = {"framing": "json-array", "max_records": 9}
    sink = {"join": join, "select": "to_number(length(output))"}
    async with open_scene(packing=packing, sink=sink) as scene:
        (entry,) = await scene.plan(3)
        outcomes = await scene.join(entry, completed(entry, b'["ab",5,[1]]'))
    assert outcomes is not None
    assert [outcome.output for outcome in outcomes] == [b"2", None, b"1"]
    assert [outcome.input for outcome in outcomes] == [None, b'{"n":1}', None]
    dead = outcomes[1]
    assert (dead.status, dead.reason, dead.attempts) == ("failed", "select_failed", 1)
    assert dead.message.endswith(f"; the output is at s3://out/{entry.planned.id}.out")


async def test_what_is_selected_must_be_json(open_scene: OpenScene) -> None:
    async with open_scene(sink={"select": "to_number('nan')"}) as scene:
        (entry,) = await scene.accepted()
        outcomes = await scene.join(entry, completed(entry, b"1"))
    assert outcomes is not None
    assert (outcomes[0].reason, outcomes[0].input) == ("select_failed", b'{"n":0}')


async def test_an_output_that_is_no_json_is_selected_as_its_line_shows_it(
    open_scene: OpenScene,
) -> None:
    async with open_scene(sink={"select": "output"}) as scene:
        (entry,) = await scene.accepted()
        outcomes = await scene.join(entry, completed(entry, b"\x89PNG", "image/png"))
    assert outcomes is not None
    assert outcomes[0].output == b'{"base64":"iVBORw==","content_type":"image/png"}'
