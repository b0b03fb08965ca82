"""Staged objects are deleted with the last invocation that needs them, over crashes and outages."""

import logging
import random

import anyio
import pytest

from dispatcher.aws.requests import InvokeRequest
from dispatcher.errors import (
    Denied,
    Throttled,
    Transient,
)
from tests.dispatch.scene import OpenScene, Scene
from tests.dispatch.staging.actions import ON_SETTLED, OTHER, SOME, cleaning, plan


async def test_it_is_deleted_with_the_last_that_needs_it(scene: Scene) -> None:
    first, second = await plan(scene, SOME, SOME)
    async with cleaning(scene):
        await scene.send([first, second])
        (name,) = scene.bucket.objects
        await scene.settle(first.number)
        await anyio.sleep(100)
        assert scene.bucket.deletes == []
        await scene.settle(second.number)
        await anyio.sleep(100)
        assert scene.bucket.deletes == [name]
    assert scene.bucket.objects == {}
    assert scene.meter.staged["deleted"] == 1
    assert await scene.ledger.staged.discarded() == []


@pytest.mark.parametrize("delete", ["never", "by_lifecycle"])
async def test_it_stays_where_others_delete(open_scene: OpenScene, delete: str) -> None:
    async with open_scene(staging={**ON_SETTLED, "delete": delete}) as scene:
        (planned,) = await plan(scene, SOME)
        async with cleaning(scene):
            await scene.send([planned])
            await scene.settle(planned.number)
        assert len(scene.bucket.objects) == 1


async def test_a_crash_between_the_outcome_and_the_deletion_leaves_nothing(
    open_scene: OpenScene,
) -> None:
    async with open_scene() as scene:
        (planned,) = await plan(scene, SOME)
        await scene.send([planned])
        await scene.settle(planned.number)
    (name,) = scene.bucket.objects
    for deletes in ([name], []):
        async with open_scene() as again:
            again.bucket.objects = scene.bucket.objects
            async with cleaning(again):
                pass
            assert again.bucket.deletes == deletes
    assert scene.bucket.objects == {}


async def test_deleting_and_staging_again_do_not_meet(scene: Scene) -> None:
    """Whatever the order of the two: the object that is called with is there."""

    async def is_there(request: InvokeRequest) -> None:
        assert request.input_location in scene.bucket.objects
        await anyio.sleep(5)
        assert request.input_location in scene.bucket.objects

    rng = random.Random(7)
    scene.bucket.seconds = 1.0
    async with cleaning(scene):
        for _ in range(30):
            scene.service.script = [None]
            first, second = await plan(scene, SOME, SOME)
            await scene.send([first])
            scene.service.script = [is_there]
            async with anyio.create_task_group() as group:
                group.start_soon(scene.settle, first.number)
                await anyio.sleep(rng.choice((0.0, 0.5, 1.0, 1.5, 2.5)))
                group.start_soon(scene.send, [second])
            await scene.settle(second.number)
            await anyio.sleep(rng.choice((0.0, 0.5, 10.0)))
    assert scene.bucket.objects == {}
    assert not scene.ledger.staged._uses


async def test_nothing_is_staged_while_a_deletion_may_still_take_effect(scene: Scene) -> None:
    scene.bucket.delete_faults = [Transient("no answer"), Transient("no answer")]
    first, second = await plan(scene, SOME, SOME)
    async with cleaning(scene):
        await scene.send([first])
        await scene.settle(first.number)
        await anyio.sleep(0.1)
        assert len(scene.bucket.deletes) == 1
        await scene.send([second])
        assert (len(scene.bucket.deletes), scene.bucket.puts) == (3, 2)
        assert list(scene.bucket.objects) == [scene.service.requests[-1].input_location]
        await scene.settle(second.number)
    assert scene.bucket.objects == {}


async def test_a_deletion_that_is_denied_stops_nothing_and_is_said_once(
    open_scene: OpenScene, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_scene() as scene:
        scene.bucket.delete_faults = [Denied("s3:DeleteObject is not allowed")] * 3
        intents = await plan(scene, SOME, OTHER, b"{}")
        with caplog.at_level(logging.WARNING):
            async with cleaning(scene):
                await scene.send(intents)
                await scene.settle(*[planned.number for planned in intents])
    assert scene.meter.staged["deletion_denied"] == 3
    (said,) = [r.getMessage() for r in caplog.records if r.name.startswith("dispatcher.dispatch")]
    assert "s3:DeleteObject" in said
    assert "staging.delete" in said
    async with open_scene() as again:  # with the permission
        again.bucket.objects = scene.bucket.objects
        async with cleaning(again):
            pass
    assert scene.bucket.objects == {}


async def test_a_deletion_that_fails_is_tried_again_and_left_at_last(
    open_scene: OpenScene,
) -> None:
    async with open_scene() as scene:
        scene.bucket.delete_faults = [Transient("503"), Throttled("slow")]
        (planned,) = await plan(scene, SOME)
        async with cleaning(scene):
            await scene.send([planned])
            await scene.settle(planned.number)
        assert (len(scene.bucket.deletes), scene.bucket.objects) == (3, {})
        scene.bucket.delete_faults = [Transient("503")] * 5
        (planned,) = await plan(scene, OTHER)
        scene.staging.cleanup._is_closing = False
        async with cleaning(scene):
            await scene.send([planned])
            await scene.settle(planned.number)
        assert scene.meter.staged["deletion_failed"] == 1
    (name,) = scene.bucket.objects
    async with open_scene() as again:
        async with cleaning(again):
            pass
        assert again.bucket.deletes == [name]


async def test_an_outage_does_not_hold_up_the_end(scene: Scene) -> None:
    intents = await plan(scene, *[b"%d" % number for number in range(100)])
    await scene.send(intents)
    await scene.settle(*[planned.number for planned in intents])
    scene.bucket.delete_faults = [Transient("503")] * 10_000
    began = anyio.current_time()
    async with cleaning(scene):
        pass
    assert anyio.current_time() - began < 60
    assert scene.meter.staged["deletion_failed"] == 100


async def test_what_completes_while_it_is_written_is_deleted(scene: Scene) -> None:
    scene.bucket.seconds = 10.0
    (planned,) = await plan(scene, SOME)
    async with cleaning(scene), anyio.create_task_group() as group:
        group.start_soon(scene.send, [planned])
        await anyio.sleep(5)
        await scene.settle(planned.number)
    assert (scene.bucket.puts, scene.bucket.objects) == (1, {})
    assert scene.service.requests == []
