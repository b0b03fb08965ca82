"""What an answer means for each record: decompressed in held memory, and reshaped for its line."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from dispatcher.aws.location import parse_location
from dispatcher.completion.event import Completion
from dispatcher.completion.outcomes import verdict_on
from dispatcher.ledger.quota import Quota

if TYPE_CHECKING:
    from dispatcher.ledger.intent import Entry
    from tests.completion.conftest import OpenScene, Scene

GZIP = "application/json; encoding=gzip"


def completed(entry: Entry, body: bytes, kind: str | None = "application/json") -> Completion:
    at = parse_location(f"s3://out/{entry.planned.id}.out")
    return Completion("completed", entry.planned.id, at, body, kind)


class Watched(Quota):
    """Knows the most that was held at once."""

    peak = 0

    async def acquire(self, amount: int) -> int:
        held = await super().acquire(amount)
        self.peak = max(self.peak, self.capacity - self.free)
        return held


async def test_a_compressed_answer_holds_the_memory_of_its_content(scene: Scene) -> None:
    content = b'"' + b"x" * 50_000 + b'"'
    body = gzip.compress(content)
    (entry,) = await scene.accepted()
    memory = scene.joiner.memory = scene.memory = Watched(64_000_000)
    outcomes = await scene.join(entry, completed(entry, body, GZIP))
    assert outcomes is not None
    assert (outcomes[0].output, outcomes[0].output_type) == (content, "application/json")
    assert memory.peak == len(body) + len(content)


async def test_compressed_answers_wait_for_each_others_memory(scene: Scene) -> None:
    body = gzip.compress(b'"' + b"x" * 50_000 + b'"')
    scene.joiner.memory = scene.memory = Quota(10_000)  # less than one takes
    for entry in await scene.accepted(3):
        assert await scene.join(entry, completed(entry, body, GZIP)) is not None


async def test_a_compressed_answer_is_bounded_by_what_is_in_it(open_scene: OpenScene) -> None:
    async with open_scene(completion={"max_output": "10kB"}) as scene:
        (entry,) = await scene.accepted()
        body = gzip.compress(b"x" * 10_001)
        outcomes = await scene.join(entry, completed(entry, body, GZIP))
    assert outcomes is not None
    assert (outcomes[0].status, outcomes[0].reason) == ("failed", "output_too_large")
    assert "10,000" in outcomes[0].message


@pytest.mark.parametrize(("size", "is_hopped"), [(999_998, True), (999_997, False)])
async def test_large_answers_are_split_beside_the_loop(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, size: int, is_hopped: bool
) -> None:
    hopped: list[object] = []
    in_place = anyio.to_thread.run_sync

    async def watched(function: Any, *arguments: Any) -> Any:
        hopped.append(function)
        return await in_place(function, *arguments)

    monkeypatch.setattr(anyio.to_thread, "run_sync", watched)
    (entry,) = await scene.accepted()
    assert await scene.join(entry, completed(entry, b'"' + b"x" * size + b'"')) is not None
    assert (verdict_on in hopped) is is_hopped


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
