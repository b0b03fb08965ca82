"""A sweep that adapts to the latency it learned: with events, without a queue, when events stop."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from dispatcher.completion.joiner import Claimed
from dispatcher.errors import Denied
from tests.completion.scene import QUEUE, make_sweeper
from tests.virtual_time import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.streams.memory import MemoryObjectReceiveStream

    from dispatcher.ledger.invocation import Entry
    from tests.completion.scene import OpenScene, Scene

BACK = "events arrive again"
STOPPED = "events do not arrive"


@dataclass
class Service:
    """An endpoint that completes what it accepts, its queue, and the sweeper that is watched.

    Attributes:
        scene: The run.
        waits: Seconds from completion to settlement, of each invocation that is settled.
    """

    scene: Scene
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        scene = self.scene
        self.sweeper = make_sweeper(scene)
        self._completed_at: dict[int, float] = {}

    async def serve(
        self,
        count: int,
        *,
        seconds: float,
        interval: float = 0.0,
        has_event: Callable[[int], bool] = lambda _n: True,
    ) -> None:
        """Accept invocations at an ``interval``, and wait until all are settled.

        Each takes so many ``seconds``; those that have an event settle a second later by it.
        """
        claims, to_join = anyio.create_memory_object_stream[Claimed](100)
        async with anyio.create_task_group() as everything:
            drained = anyio.Event()
            drained.set()
            everything.start_soon(self.sweeper.run, claims, drained)
            everything.start_soon(self._settle_found, to_join)
            async with anyio.create_task_group() as service:
                if not interval:
                    for n, entry in enumerate(await self.scene.accepted(count)):
                        service.start_soon(self._complete, entry, seconds, has_event(n))
                for n in range(count if interval else 0):
                    (entry,) = await self.scene.accepted()
                    service.start_soon(self._complete, entry, seconds, has_event(n))
                    await anyio.sleep(interval)
            await self.scene.ledger.wait_until_idle()
            everything.cancel_scope.cancel()

    async def _complete(self, entry: Entry, seconds: float, has_event: bool) -> None:
        await anyio.sleep(seconds)
        self._completed_at[entry.planned.number] = monotonic()
        self.scene.bucket.objects[self.scene.output_of(entry)] = b"1", None
        if not has_event:
            return
        await anyio.sleep(1.0)
        outstanding = self.scene.ledger.find(entry.planned.number)
        self.sweeper.heard(outstanding)
        if outstanding is not None and self.scene.ledger.claim(outstanding):
            await self._settle(outstanding)

    async def _settle_found(self, to_join: MemoryObjectReceiveStream[Claimed]) -> None:
        async with to_join:
            async for claimed in to_join:
                assert claimed.completion.kind == "completed"
                await self._settle(claimed.entry)

    async def _settle(self, entry: Entry) -> None:
        self.waits.append(monotonic() - self._completed_at[entry.planned.number])
        await self.scene.settle(entry)

    def requests(self) -> int:
        """Return the requests made since the last call."""
        looks = self.scene.meter.sweep_requests
        made = looks["list"] + looks["head"]
        looks["list"] = looks["head"] = 0
        return made


def never(_number: int) -> bool:
    return False


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


async def test_long_completions_do_not_cause_a_probe_every_minute(open_scene: OpenScene) -> None:
    async with open_scene(completion=QUEUE) as scene:
        service = Service(scene)
        await service.serve(1500, seconds=600.0)
        assert service.requests() <= 5 * 4, "five probes of two folders, outputs and failures"
        for _ in range(3):
            await service.serve(200, seconds=600.0)
        assert service.requests() == 0, "what is expected is not probed for"
        assert scene.meter.sweep_completions == 0


async def test_what_is_lost_among_long_completions_is_found_past_its_time(
    open_scene: OpenScene, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_scene(completion=QUEUE) as scene:
        service = Service(scene)
        await service.serve(400, seconds=600.0)
        assert service.requests() > 0
        service.waits.clear()
        await service.serve(400, seconds=600.0, has_event=lambda n: n % 100 > 0)
        assert scene.meter.sweep_completions == 4
        assert service.requests() == 4
        assert max(service.waits) < 600.0
        assert said(caplog, STOPPED) == 0


async def test_no_event_is_waited_for_less_than_the_users_floor(open_scene: OpenScene) -> None:
    async with open_scene(completion=QUEUE | {"sweep_after": "20s"}) as scene:
        service = Service(scene)
        await service.serve(300, seconds=2.0, interval=0.1, has_event=lambda n: n % 50 > 0)
        lost = [wait for wait in service.waits if wait > 1.0]
        assert len(lost) == scene.meter.sweep_completions == 6
        assert 17.9 < min(lost) <= max(lost) <= 18.0 + 5.0
        assert service.requests() == 6


async def test_without_a_queue_probes_follow_what_completions_take(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        service = Service(scene)
        await service.serve(600, seconds=2.0, interval=0.02, has_event=never)
        assert scene.meter.sweep_completions == 600
        assert statistics.median(service.waits) < 2.0
        assert max(service.waits) < 4.0
        assert service.requests() < 100
        await service.serve(300, seconds=600.0, has_event=never)
        service.requests()
        service.waits.clear()
        await service.serve(300, seconds=600.0, has_event=never)
        assert max(service.waits) < 300.0
        assert service.requests() < 20


async def test_a_queue_that_was_never_heard_is_reported_once_and_not_waited_for(
    open_scene: OpenScene, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_scene(completion=QUEUE) as scene:
        service = Service(scene)
        await service.serve(1000, seconds=2.0, interval=0.2, has_event=never)
        assert said(caplog, STOPPED) == said(caplog, "none has come yet") == 1
        assert scene.meter.event_outages == 1
        assert service.requests() < 1000, "less than a HEAD each"
        assert max(service.waits) < 60.0 + 15.0
        assert max(service.waits[-500:]) < 4.0
        assert said(caplog, BACK) == 0


async def test_events_that_stop_and_that_return_are_both_reported(
    open_scene: OpenScene, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_scene(completion=QUEUE) as scene:
        service = Service(scene)
        await service.serve(200, seconds=2.0, interval=0.2)
        assert service.requests() == 0
        await service.serve(800, seconds=2.0, interval=0.2, has_event=never)
        assert (said(caplog, STOPPED), said(caplog, BACK)) == (1, 0)
        assert said(caplog, "the last event came") == 1
        assert max(service.waits[-300:]) < 4.0
        await service.serve(200, seconds=2.0, interval=0.2)
        assert (said(caplog, STOPPED), said(caplog, BACK)) == (1, 1)
        service.requests()
        await service.serve(200, seconds=2.0, interval=0.2)
        assert service.requests() == 0


async def test_a_run_that_waits_for_its_first_events_is_not_silent(
    open_scene: OpenScene, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_scene(completion=QUEUE) as scene:
        service = Service(scene)
        # The probes at 405 s see all the outputs a moment before their events come.
        await service.serve(300, seconds=404.5)
        assert scene.meter.event_outages == 0
        assert said(caplog, STOPPED) == 0


async def test_a_page_is_read_for_those_too_that_are_not_yet_due(open_scene: OpenScene) -> None:
    async with open_scene() as scene:
        service = Service(scene)
        await service.serve(500, seconds=20.0, has_event=never)
        entries = await scene.accepted(20)
        await anyio.sleep(5)
        young = await scene.accepted(20)
        for accepted in (*entries, *young):
            scene.bucket.objects[scene.output_of(accepted)] = b"1", None
        await anyio.sleep(20)
        service.requests()
        completed = [entry for entry, _ in await service.sweeper.sweep()]
        assert completed == [*entries, *young]
        assert service.requests() == 1


async def test_while_events_arrive_a_page_is_not_read_for_what_is_not_due(
    open_scene: OpenScene,
) -> None:
    async with open_scene(completion=QUEUE) as scene:
        service = Service(scene)
        overdue = await scene.accepted(20)
        await anyio.sleep(50)
        young = await scene.accepted(20)
        for accepted in (*overdue, *young):
            scene.bucket.objects[scene.output_of(accepted)] = b"1", None
        await anyio.sleep(10)
        assert [entry for entry, _ in await service.sweeper.sweep()] == overdue


async def test_a_second_event_does_not_say_how_long_the_completion_took(
    open_scene: OpenScene,
) -> None:
    async with open_scene(completion=QUEUE) as scene:
        service = Service(scene)
        (entry,) = await scene.accepted()
        service.sweeper.heard(entry)
        assert scene.ledger.claim(entry)
        await anyio.sleep(3000)
        service.sweeper.heard(entry)
        await scene.settle(entry)
        await service.serve(20, seconds=2.0, has_event=lambda n: n > 0)
        assert max(service.waits) < 60.0 + 15.0


async def test_what_an_earlier_process_sent_says_nothing_of_how_long_completions_take(
    open_scene: OpenScene,
) -> None:
    async with open_scene() as scene:
        await scene.accepted(200)
        await anyio.sleep(7200.0)
        service = Service(scene)
        for entry in scene.ledger.accepted():
            service.sweeper.heard(entry)
            scene.bucket.objects[scene.output_of(entry)] = b"1", None
            service._completed_at[entry.planned.number] = monotonic()
        await service.serve(1, seconds=2.0, has_event=never)
        service.waits.clear()
        await service.serve(50, seconds=2.0, has_event=never)
        assert max(service.waits) < 4.0


async def test_alone_and_without_leave_to_list_each_is_probed_within_the_budget(
    open_scene: OpenScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_scene(completion={"sweep_budget": 20}) as scene:
        service = Service(scene)

        async def refused(_folder: object) -> set[str]:
            await anyio.lowlevel.checkpoint()
            raise Denied("s3:ListBucket")

        monkeypatch.setattr(scene.bucket, "page", refused)
        began = monotonic()
        await service.serve(300, seconds=2.0, has_event=never)
        assert scene.meter.sweep_requests["list"] <= 2
        assert service.requests() <= 20 * (monotonic() - began + 1)
        assert monotonic() - began < 60.0
