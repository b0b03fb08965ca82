"""Refusals before the first acceptance: held back, then dead letters or the end of the run."""

from collections.abc import AsyncIterator

import pytest

from dispatcher.errors import (
    Rejected,
    RunStopped,
)
from dispatcher.flow.content import LARGE_BYTES
from tests.dispatch.scene import OpenScene, Scene
from tests.dispatch.staging.actions import plan


@pytest.fixture
async def unbegun(open_scene: OpenScene) -> AsyncIterator[Scene]:
    """Return a run of which the service has accepted nothing yet."""
    async with open_scene(begun=False) as made:
        yield made


async def test_what_is_refused_for_all_becomes_no_dead_letter(unbegun: Scene) -> None:
    unbegun.service.always = Rejected("ValidationError: not an asynchronous endpoint", code="X")
    with pytest.raises(RunStopped, match=r"first 10 requests were all refused.*not an async"):
        await unbegun.send(await unbegun.plan(20))


async def test_refusals_before_the_first_acceptance_are_settled_after_it(unbegun: Scene) -> None:
    unbegun.service.script = [Rejected("no", code="X")] * 3
    refused = await unbegun.send(await unbegun.plan(5))
    assert [settlement.outcomes[0].key for settlement in refused] == ["key-0", "key-1", "key-2"]


async def test_refusals_of_a_whole_small_input_are_settled_at_its_end(unbegun: Scene) -> None:
    unbegun.service.always = Rejected("no", code="X")
    refused = await unbegun.send(await unbegun.plan(3))
    assert len(refused) == 3


async def test_refusals_at_a_stop_are_left_to_the_next_process(unbegun: Scene) -> None:
    unbegun.probation.is_stopping = True
    unbegun.service.always = Rejected("no", code="X")
    planned = await unbegun.plan(3)
    assert await unbegun.send(planned) == []
    assert not any(unbegun.entry(one).claimed for one in planned)
    await unbegun.ledger.wait_until_idle()  # nobody waits for them


async def test_records_that_cannot_be_encoded_say_nothing_of_the_service(
    open_scene: OpenScene,
) -> None:
    """Ten that the service refuses would stop a run of which it never accepted anything."""
    async with open_scene(begun=False) as scene:
        scene.memory.capacity = scene.memory.free = 12 * LARGE_BYTES  # nobody settles meanwhile
        raw = b"[NaN" + b" " * LARGE_BYTES + b"]"
        intents = await plan(scene, *[raw] * 11, encoding="msgpack")
        given_up = await scene.send(intents)
        assert [one.outcomes[0].reason for one in given_up] == ["not_encodable"] * 11
