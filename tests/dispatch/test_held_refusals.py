"""Refusals before the first acceptance: held back, then dead letters or the end of the run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher.dispatch.held_refusals import RefusedInvocation
from dispatcher.errors import Rejected, RunStopped
from dispatcher.flow.content import LARGE_BYTES
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.outcome import Settlement
from dispatcher.reasons import Reason
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
    unbegun.held_refusals.is_stopping = True
    unbegun.service.always = Rejected("no", code="X")
    planned = await unbegun.plan(3)
    assert await unbegun.send(planned) == []
    assert not any(unbegun.entry(invocation).claimed for invocation in planned)
    await unbegun.ledger.wait_until_idle()  # the end of the run does not wait for them


async def test_records_that_cannot_be_encoded_say_nothing_of_the_service(
    open_scene: OpenScene,
) -> None:
    """Ten that the service refuses would stop a run of which it never accepted anything."""
    async with open_scene(begun=False) as scene:
        # No settler releases any meanwhile.
        scene.memory.capacity = scene.memory.free = 12 * LARGE_BYTES
        raw = b"[NaN" + b" " * LARGE_BYTES + b"]"
        intents = await plan(scene, *[raw] * 11, encoding="msgpack")
        given_up = await scene.send(intents)
        assert [settlement.outcomes[0].reason for settlement in given_up] == ["not_encodable"] * 11


# HeldRefusals itself


@dataclass
class Court:
    """HeldRefusals under way, and what it has settled so far."""

    scene: Scene
    settlements: MemoryObjectSendStream[list[Settlement]]
    settled: MemoryObjectReceiveStream[list[Settlement]]

    async def judge(
        self, count: int, reason: Reason = Reason.CALL_REJECTED
    ) -> list[RefusedInvocation]:
        """Let the service refuse so many invocations, as a sender does."""
        refused = []
        for planned in await self.scene.plan(count):
            entry = self.scene.entry(planned)
            assert self.scene.ledger.claim(entry)
            refused.append(RefusedInvocation(entry, reason, "no"))
            await self.scene.held_refusals.judge(refused[-1], self.settlements)
        return refused

    def take(self) -> list[Entry | None]:
        """Return the invocations that were settled since the last time."""
        entries = []
        while self.settled.statistics().current_buffer_used:
            (settlement,) = self.settled.receive_nowait()
            assert settlement.reservation is not None
            settlement.reservation.release()
            entries.append(settlement.entry)
        return entries


@asynccontextmanager
async def court(scene: Scene, *, capacity: int = 100) -> AsyncIterator[Court]:
    settlements, settled = anyio.create_memory_object_stream[list[Settlement]](capacity)
    async with settlements, settled:
        yield Court(scene, settlements, settled)


async def test_refusals_are_held_back_and_released_in_order_by_the_first_acceptance(
    unbegun: Scene,
) -> None:
    async with court(unbegun) as under_way:
        refused = await under_way.judge(3)
        await unbegun.held_refusals.review(under_way.settlements)
        assert under_way.take() == []
        with anyio.fail_after(1):
            await unbegun.ledger.wait_until_idle()  # the end of the run does not wait for them
        (accepted,) = await unbegun.plan()
        unbegun.ledger.accept(accepted, unbegun.now(), None, None)
        await unbegun.held_refusals.review(under_way.settlements)
        assert under_way.take() == [one.entry for one in refused]
        await unbegun.settle(accepted.number)
        assert not unbegun.ledger.is_idle(), "now the run waits for them"
        await unbegun.held_refusals.review(under_way.settlements)
        assert under_way.take() == []
    assert unbegun.memory.free == unbegun.memory.capacity


@pytest.mark.parametrize(("outstanding", "enough"), [(1, 1), (3, 3), (10, 10), (50, 10)])
async def test_ten_refusals_or_as_many_as_can_be_outstanding_stop_the_run(
    open_scene: OpenScene, outstanding: int, enough: int
) -> None:
    async with (
        open_scene(begun=False, limits={"outstanding": outstanding}) as scene,
        court(scene) as under_way,
    ):
        await under_way.judge(enough - 1)
        await scene.held_refusals.review(under_way.settlements)
        await under_way.judge(1)
        with pytest.raises(RunStopped, match=f"first {enough} requests were all refused.*: no. "):
            await scene.held_refusals.review(under_way.settlements)
        assert under_way.take() == []


@pytest.mark.parametrize("reason", [Reason.NOT_ENCODABLE, Reason.NO_STAGING])
async def test_what_was_never_offered_to_the_service_is_settled_at_once(
    unbegun: Scene, reason: Reason
) -> None:
    async with court(unbegun) as under_way:
        refused = await under_way.judge(11, reason)
        assert under_way.take() == [one.entry for one in refused]
        await unbegun.held_refusals.review(under_way.settlements)
        assert not unbegun.ledger.is_idle(), "the run waits until they are durable"


@pytest.mark.parametrize("is_stopping", [True, False])
@pytest.mark.parametrize("has_accepted", [True, False])
async def test_at_the_end_only_a_stop_without_any_acceptance_leaves_them(
    open_scene: OpenScene, has_accepted: bool, is_stopping: bool
) -> None:
    async with open_scene(begun=has_accepted) as scene, court(scene) as under_way:
        refused = await under_way.judge(2)
        scene.held_refusals.is_stopping = is_stopping
        await scene.held_refusals.conclude(under_way.settlements)
        is_left = is_stopping and not has_accepted
        assert under_way.take() == ([] if is_left else [invocation.entry for invocation in refused])
        assert [invocation.entry.claimed for invocation in refused] == [not is_left] * 2
        assert scene.ledger.is_idle() is is_left


async def test_a_settlement_that_cannot_be_handed_on_holds_no_memory(unbegun: Scene) -> None:
    async with court(unbegun, capacity=0) as under_way:
        with anyio.move_on_after(1):
            await under_way.judge(1, Reason.NO_STAGING)
        assert unbegun.memory.free == unbegun.memory.capacity
