"""The resend queue sends what is planned when it is due, after the events of the meantime."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from dispatcher.dispatch.resend import ResendQueue
from dispatcher.ledger.invocation import Planned

if TYPE_CHECKING:
    from tests.dispatch.scene import OpenScene, Scene


@dataclass
class Running:
    """A resend queue under way, and what it sent when, in seconds from the start."""

    resend: ResendQueue
    drained: anyio.Event = field(default_factory=anyio.Event)
    sent: list[tuple[float, int]] = field(default_factory=list)

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.sent]


@asynccontextmanager
async def opened(scene: Scene, *, drained: bool = True) -> AsyncIterator[Running]:
    running = Running(ResendQueue(scene.ledger, scene.now))
    if drained:
        running.drained.set()
    give, take = anyio.create_memory_object_stream[Planned](0)
    began = anyio.current_time()

    async def receive() -> None:
        async with take:
            async for planned in take:
                running.sent.append((anyio.current_time() - began, planned.number))

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        group.start_soon(running.resend.run, give, running.drained)
        yield running
        running.resend.close()


async def replaced(scene: Scene, after: float) -> Planned:
    (planned,) = await scene.plan()
    entry = scene.entry(planned)
    scene.ledger.claim(entry)
    (new,) = await scene.ledger.replace(entry, after=after)
    return new


async def test_new_attempts_leave_in_the_order_of_their_times(scene: Scene) -> None:
    async with opened(scene) as running:
        late, soon, now = [await replaced(scene, after) for after in (60.0, 5.0, 0.0)]
        for planned in (late, soon, now):
            running.resend.add(planned)
        await anyio.sleep(100)
        assert running.sent == [(0.0, now.number), (5.0, soon.number), (60.0, late.number)]


async def test_resumed_invocations_wait_for_the_events_of_the_meantime(
    open_scene: OpenScene,
) -> None:
    async with open_scene() as scene:
        planned = [planned.number for planned in await scene.plan(3)]
    async with open_scene() as scene, opened(scene, drained=False) as running:
        await anyio.sleep(2)
        assert running.sent == []
        await scene.settle(planned[0])  # an event said so
        running.drained.set()
        await anyio.sleep(0.1)
        assert running.sent == [(2.0, number) for number in planned], "the sender sees what is over"


async def test_those_whose_payload_was_lost_wait_for_the_events_too(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        (planned,) = await scene.plan()
    async with open_scene() as scene:
        entry = scene.entry(planned)
        entry.payload, lost = None, entry.payload
        async with opened(scene, drained=False) as running:
            await anyio.sleep(1)
            entry.payload = lost  # the intake has read it again
            running.resend.add(entry.planned)
            await anyio.sleep(1)
            assert running.sent == []
            running.drained.set()
            await anyio.sleep(0.1)
            assert running.sent == [(2.0, planned.number)]


async def test_a_queue_that_says_nothing_is_not_waited_for_long(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        (planned,) = await scene.plan()
    async with open_scene() as scene, opened(scene, drained=False) as running:
        await anyio.sleep(60)
        assert running.sent == [(5.0, planned.number)]


async def test_a_new_attempt_of_an_earlier_process_keeps_its_time(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        planned = await replaced(scene, 30.0)
        await anyio.sleep(10)
    async with open_scene() as scene, opened(scene) as running:
        await anyio.sleep(60)
        assert running.sent == [(20.0, planned.number)]


async def test_after_a_stop_what_waits_is_left_to_the_next_process(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        async with opened(scene) as running:
            waiting, later = await replaced(scene, 30.0), await replaced(scene, 0.0)
            running.resend.add(waiting)
            await anyio.sleep(1)
            running.resend.stop()
            running.resend.add(later)
            with anyio.fail_after(1):
                await scene.ledger.wait_until_idle()
        assert running.sent == []
    async with open_scene() as scene:
        assert [planned.number for planned in scene.ledger.resumed] == [
            waiting.number,
            later.number,
        ]


async def test_what_was_settled_or_accepted_meanwhile_does_not_leave(scene: Scene) -> None:
    async with opened(scene) as running:
        settled, accepted = await scene.plan(2)
        await scene.settle(settled.number)
        scene.ledger.accept(accepted, 1.0, None, None)
        running.resend.add(settled)
        running.resend.add(accepted)
        await anyio.sleep(1)
        assert running.numbers == []


async def test_what_was_not_due_when_its_process_died_was_never_called(
    open_scene: OpenScene,
) -> None:
    async with open_scene() as scene:
        early, late = await replaced(scene, 10.0), await replaced(scene, 100.0)
    await anyio.sleep(50)
    async with open_scene() as scene:
        known = {resumed.number: resumed.may_have_been_sent for resumed in scene.ledger.resumed}
        assert known == {early.number: True, late.number: False}


async def test_a_clock_that_was_set_back_holds_nothing_back_for_days(
    open_scene: OpenScene,
) -> None:
    async with open_scene() as scene:
        planned = await replaced(scene, 1e6)
        (accepted,) = await scene.plan()
        scene.ledger.accept(accepted, scene.now() + 1e6, None, None)
    async with open_scene() as scene, opened(scene) as running:
        assert [planned.may_have_been_sent for planned in scene.ledger.resumed] == [True]
        entry = scene.entry(accepted)
        assert entry.accepted_at is not None
        assert entry.accepted_at <= scene.now()
        await anyio.sleep(3_700)
        assert running.numbers == [planned.number]
