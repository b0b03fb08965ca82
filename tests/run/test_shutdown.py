"""A graceful stop closes the head and drains, a hard stop cancels, and a second signal is hard."""

import signal
from collections.abc import Callable

import anyio
import pytest
from anyio.abc import TaskGroup

from dispatcher.observe.events import Event, PhaseChanged
from dispatcher.records.record import Position, Record
from tests.completion.scene import OpenScene, Scene
from tests.run.doubles import EndlessSource, wired


async def seconds_to_end(stop: Callable[[TaskGroup], None]) -> float:
    """Stop a run in which one task never ends by itself; return how long that takes."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        await anyio.sleep(1)
        began = anyio.current_time()
        stop(tasks)
    return anyio.current_time() - began


async def test_a_graceful_stop_closes_the_head_and_keeps_what_is_planned(scene: Scene) -> None:
    source = EndlessSource([Record(Position("in", 0, 10, 1), "key", b"{}")])
    with wired(scene, source) as stages:
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as head:
                head.start_soon(stages.intake.run)
                await anyio.sleep(1)
                stages.shutdown.stop_gracefully(tasks)
            planned = stages.channels.to_send.receive_nowait()
            tasks.cancel_scope.cancel()
        assert source.is_stopped
        assert stages.held_refusals.is_stopping
        assert scene.meter.phase == "draining"
        assert [entry.planned for entry in scene.ledger.planned()] == [planned]
        assert not scene.ledger.is_idle(), "the run waits for its completion"


async def test_a_graceful_stop_leaves_retries_that_wait_to_the_next_process(scene: Scene) -> None:
    (entry,) = await scene.plan(1)
    assert scene.ledger.claim(entry)
    (retry,) = await scene.ledger.replace(entry, after=1_000.0)
    with wired(scene) as stages:
        stages.resend.add(retry)
        assert not scene.ledger.is_idle()
        async with anyio.create_task_group() as tasks:
            stages.shutdown.stop_gracefully(tasks)
            tasks.cancel_scope.cancel()
        assert scene.ledger.is_idle()
        assert [waiting.planned for waiting in scene.ledger.planned()] == [retry]


async def test_what_has_not_completed_by_the_drain_deadline_is_cancelled(
    open_scene: OpenScene,
) -> None:
    async with open_scene(limits={"drain": "90s"}) as scene:
        with wired(scene) as stages:
            assert await seconds_to_end(stages.shutdown.stop_gracefully) == 90.0


async def test_a_hard_stop_cancels_at_once(scene: Scene) -> None:
    with wired(scene) as stages:
        assert await seconds_to_end(stages.shutdown.stop_hard) == 0.0
        assert scene.meter.phase == "starting"


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_drains_and_the_second_cancels(
    scene: Scene, first: signal.Signals, second: signal.Signals
) -> None:
    events: list[Event] = []
    source = EndlessSource()
    with wired(scene, source, events.append) as stages:
        shutdown = stages.shutdown
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shutdown.handle_signals, tasks)
            await anyio.sleep(1)
            signal.raise_signal(first)
            await anyio.sleep(1)
            assert not tasks.cancel_scope.cancel_called
            assert (shutdown.received, source.is_stopped) == (first, True)
            signal.raise_signal(second)
            await anyio.sleep(1)
            pytest.fail("the second signal did not cancel this task")
    assert tasks.cancel_scope.cancel_called
    assert shutdown.received == first, "the exit code is that of the first"
    assert events == [PhaseChanged("draining")]
