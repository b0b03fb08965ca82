"""Objects that were written lately count as there, and one writer at a time has each."""

import anyio
import pytest

from dispatcher.dispatch.staging import recent_writes
from dispatcher.errors import (
    Transient,
)
from dispatcher.ledger.states import State
from tests.dispatch.scene import Scene
from tests.dispatch.staging.actions import OTHER, SOME, plan


async def test_the_same_content_is_put_once_by_many_at_once(scene: Scene) -> None:
    scene.bucket.seconds = 5.0
    intents = await plan(scene, *[SOME] * 5, OTHER)
    assert await scene.send(intents, loops=6) == []
    assert scene.bucket.puts == 2
    assert scene.meter.staged == {"uploaded": 2, "shared": 4}
    locations = [request.input_location for request in scene.service.requests]
    assert len(locations) == 6
    assert len(set(locations)) == 2


async def test_a_stager_that_waited_for_a_failed_upload_uploads_itself(scene: Scene) -> None:
    scene.bucket.seconds = 1.0
    scene.bucket.put_faults = [Transient("503")]
    intents = await plan(scene, SOME, SOME)
    assert await scene.send(intents, loops=2) == []
    assert len(scene.bucket.objects) == 1
    assert all(scene.entry(planned).state is State.ACCEPTED for planned in intents)


async def test_it_is_found_out_again_after_a_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = await plan(scene, SOME, SOME, SOME)
    await scene.staging.stage(scene.entry(first))
    await anyio.sleep(3_599)
    await scene.staging.stage(scene.entry(second))
    assert scene.bucket.puts == 1
    await anyio.sleep(2)
    await scene.staging.stage(scene.entry(third))
    assert scene.bucket.puts == 2


async def test_what_is_remembered_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_writes, "_MAX_KNOWN", 3)
    for number in range(10):
        (planned,) = await plan(scene, b"%d" % number)
        await scene.staging.stage(scene.entry(planned))
    assert len(scene.staging._cache._seen) == 3
    assert scene.staging._cache._locks == {}
