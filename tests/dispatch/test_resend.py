"""What is planned already leaves when it is due, after the events of the meantime were heard."""

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
class Hall:
    """ResendQueue under way, and who left when, in seconds from the start."""

    departures: ResendQueue
    drained: anyio.Event = field(default_factory=anyio.Event)
    left: list[tuple[float, int]] = field(default_factory=list)

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.left]


@asynccontextmanager
async def opened(scene: Scene, *, drained: bool = True) -> AsyncIterator[Hall]:
    hall = Hall(ResendQueue(scene.ledger, scene.now))
    if drained:
        hall.drained.set()
    give, take = anyio.create_memory_object_stream[Planned](0)
    began = anyio.current_time()

    async def receive() -> None:
        async with take:
            async for planned in take:
                hall.left.append((anyio.current_time() - began, planned.number))

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        group.start_soon(hall.departures.run, give, hall.drained)
        yield hall
        hall.departures.close()


async def anew(scene: Scene, after: float) -> Planned:
    (planned,) = await scene.plan()
    entry = scene.entry(planned)
    scene.ledger.claim(entry)
    (new,) = await scene.ledger.replace(entry, after=after)
    return new


async def test_new_attempts_leave_in_the_order_of_their_times(scene: Scene) -> None:
    async with opened(scene) as hall:
        late, soon, now = [await anew(scene, after) for after in (60.0, 5.0, 0.0)]
        for planned in (late, soon, now):
            hall.departures.add(planned)
        await anyio.sleep(100)
        assert hall.left == [(0.0, now.number), (5.0, soon.number), (60.0, late.number)]


async def test_resumed_invocations_wait_for_the_events_of_the_meantime(
    open_scene: OpenScene,
) -> None:
    async with open_scene() as scene:
        planned = [one.number for one in await scene.plan(3)]
    async with open_scene() as scene, opened(scene, drained=False) as hall:
        await anyio.sleep(2)
        assert hall.left == []
        await scene.settle(planned[0])  # an event said so
        hall.drained.set()
        await anyio.sleep(0.1)
        assert hall.left == [(2.0, number) for number in planned], "the sender sees what is over"


async def test_those_whose_payload_was_lost_wait_for_the_events_too(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        (planned,) = await scene.plan()
    async with open_scene() as scene:
        entry = scene.entry(planned)
        entry.payload, lost = None, entry.payload
        async with opened(scene, drained=False) as hall:
            await anyio.sleep(1)
            entry.payload = lost  # the intake has read it again
            hall.departures.add(entry.planned)
            await anyio.sleep(1)
            assert hall.left == []
            hall.drained.set()
            await anyio.sleep(0.1)
            assert hall.left == [(2.0, planned.number)]


async def test_a_queue_that_says_nothing_is_not_waited_for_long(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        (planned,) = await scene.plan()
    async with open_scene() as scene, opened(scene, drained=False) as hall:
        await anyio.sleep(60)
        assert hall.left == [(5.0, planned.number)]


async def test_a_new_attempt_of_an_earlier_process_keeps_its_time(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        planned = await anew(scene, 30.0)
        await anyio.sleep(10)
    async with open_scene() as scene, opened(scene) as hall:
        await anyio.sleep(60)
        assert hall.left == [(20.0, planned.number)]


async def test_after_a_stop_what_waits_is_left_to_the_next_process(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        async with opened(scene) as hall:
            waiting, later = await anew(scene, 30.0), await anew(scene, 0.0)
            hall.departures.add(waiting)
            await anyio.sleep(1)
            hall.departures.stop()
            hall.departures.add(later)
            with anyio.fail_after(1):
                await scene.ledger.wait_until_idle()
        assert hall.left == []
    async with open_scene() as scene:
        assert [one.number for one in scene.ledger.resumed] == [waiting.number, later.number]


async def test_what_was_settled_or_accepted_meanwhile_does_not_leave(scene: Scene) -> None:
    async with opened(scene) as hall:
        settled, accepted = await scene.plan(2)
        await scene.settle(settled.number)
        scene.ledger.accept(accepted, 1.0, None, None)
        hall.departures.add(settled)
        hall.departures.add(accepted)
        await anyio.sleep(1)
        assert hall.numbers == []


async def test_what_was_not_due_when_its_process_died_was_never_called(
    open_scene: OpenScene,
) -> None:
    async with open_scene() as scene:
        early, late = await anew(scene, 10.0), await anew(scene, 100.0)
    await anyio.sleep(50)
    async with open_scene() as scene:
        known = {one.number: one.may_have_been_sent for one in scene.ledger.resumed}
        assert known == {early.number: True, late.number: False}


async def test_a_clock_that_was_set_back_makes_nobody_wait_for_days(
    open_scene: OpenScene,
) -> None:
    async with open_scene() as scene:
        planned = await anew(scene, 1e6)
        (accepted,) = await scene.plan()
        scene.ledger.accept(accepted, scene.now() + 1e6, None, None)
    async with open_scene() as scene, opened(scene) as hall:
        assert [one.may_have_been_sent for one in scene.ledger.resumed] == [True]
        entry = scene.entry(accepted)
        assert entry.accepted_at is not None
        assert entry.accepted_at <= scene.now()
        await anyio.sleep(3_700)
        assert hall.numbers == [planned.number]
