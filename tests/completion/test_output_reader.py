"""Outputs are read from the event or from S3, within the limits, or the reason is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from dispatcher.completion.event import Completion
from dispatcher.errors import (
    Denied,
    NotThere,
    Rejected,
    Throttled,
    Transient,
)
from dispatcher.flow.budget import MemoryBudget
from tests.completion.scene import completed

if TYPE_CHECKING:
    from tests.completion.scene import OpenScene, Scene


@pytest.mark.parametrize("has_location", [True, False], ids=["by-event", "by-202"])
async def test_an_answer_in_the_object(scene: Scene, has_location: bool) -> None:
    (entry,) = await scene.accepted()
    location = "s3://elsewhere/x.out" if has_location else scene.output_of(entry)
    scene.bucket.objects[location] = b"a,b\n", "text/csv"
    outcomes = await scene.join(entry, completed(entry, location if has_location else None))
    assert outcomes is not None
    assert (outcomes[0].output, outcomes[0].output_type) == (b"a,b\n", "text/csv")
    assert scene.bucket.opened == [location]


async def test_an_object_that_is_late_is_waited_for(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    scene.bucket.objects[scene.output_of(entry)] = b"1", None
    scene.bucket.open_faults = [NotThere("not yet"), NotThere("not yet"), Throttled("slow")]
    scene.bucket.read_faults = [Transient("cut off")]
    began = anyio.current_time()
    outcomes = await scene.join(entry, completed(entry))
    assert outcomes is not None
    assert outcomes[0].output == b"1"
    assert anyio.current_time() - began == pytest.approx(0.2 + 0.4 + 0.6 + 0.8)


async def test_an_object_that_never_comes_is_a_dead_letter(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    outcomes = await scene.join(entry, completed(entry))
    assert outcomes is not None
    assert (outcomes[0].status, outcomes[0].reason) == ("failed", "output_missing")
    assert scene.output_of(entry) in outcomes[0].message
    assert outcomes[0].input == b'{"n":0}'
    assert len(scene.bucket.opened) == 5


async def test_an_event_without_any_location_is_a_dead_letter(scene: Scene) -> None:
    (entry,) = await scene.plan(1)
    outcomes = await scene.join(entry, completed(entry))
    assert outcomes is not None
    assert (outcomes[0].reason, outcomes[0].input) == ("output_missing", b'{"n":0}')


async def test_an_object_that_is_refused_is_a_dead_letter_at_once(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    scene.bucket.open_faults = [Rejected("InvalidObjectState: archived")]
    outcomes = await scene.join(entry, completed(entry))
    assert outcomes is not None
    assert (outcomes[0].reason, len(scene.bucket.opened)) == ("output_unreadable", 1)


async def test_denied_stops_the_run(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    scene.bucket.open_faults = [Denied("s3:GetObject")]
    with pytest.raises(Denied, match="s3:GetObject"):
        await scene.join(entry, completed(entry))


async def test_an_output_that_is_too_large_is_not_read(open_scene: OpenScene) -> None:
    async with open_scene(completion={"max_output": 10}) as scene:
        large, fits = await scene.accepted(2)
        scene.bucket.objects[scene.output_of(large)] = b"x" * 11, None
        scene.bucket.objects[scene.output_of(fits)] = b"x" * 10, None
        outcomes = await scene.join(large, completed(large))
        assert outcomes is not None
        assert outcomes[0].reason == "output_too_large"
        assert "11 bytes, more than completion.max_output (10)" in outcomes[0].message
        outcomes = await scene.join(fits, completed(fits))
        assert outcomes is not None
        assert outcomes[0].status == "completed"


async def test_a_failure_without_any_object_asks_for_none(scene: Scene) -> None:
    (entry,) = await scene.plan(1)
    outcomes = await scene.join(entry, Completion("failed", entry.planned.id, None))
    assert outcomes is not None
    assert outcomes[0].reason == "model_server_error"
    assert scene.bucket.opened == []


async def test_a_second_try_does_not_wait_for_the_memory_of_the_first(scene: Scene) -> None:
    scene.memory = scene.joiner.memory = MemoryBudget(100)
    (entry,) = await scene.accepted()
    scene.bucket.objects[scene.output_of(entry)] = b"x" * 80, None
    scene.bucket.read_faults = [Transient("cut off")]
    outcomes = await scene.join(entry, completed(entry))
    assert outcomes is not None
    assert outcomes[0].output == b"x" * 80


async def test_an_answer_in_the_event_needs_no_object(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    outcomes = await scene.join(entry, completed(entry, "s3://out/x.out", b'{"y": 1}'))
    assert outcomes is not None
    (outcome,) = outcomes
    assert (outcome.status, outcome.key, outcome.attempts) == ("completed", "key-0", 1)
    assert (outcome.output, outcome.output_type) == (b'{"y": 1}', "application/json")
    assert (outcome.input, outcome.meta) == (None, None)
    assert outcome.position == entry.record_refs[0].position
    assert scene.bucket.opened == []
