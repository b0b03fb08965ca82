"""Large payloads are written in parts, within the memory budget; a failed upload leaves nothing."""

import gzip
import hashlib

import anyio
import pytest
import zstandard

from dispatcher import limits
from dispatcher.config.packing import Encoding
from dispatcher.dispatch.staging.upload import PART_BYTES
from dispatcher.errors import (
    Rejected,
    Throttled,
    Transient,
)
from dispatcher.flow.budget import MemoryBudget
from dispatcher.flow.content import LARGE_BYTES
from dispatcher.ledger.invocation import Planned
from tests.dispatch.scene import Scene
from tests.dispatch.staging.actions import (
    SOME,
    large,
    plan,
)
from tests.doubles import FakeUpload


@pytest.mark.parametrize("encoding", ["json", "json+gzip", "json+zstd", "msgpack"])
async def test_a_large_record_is_written_in_parts(scene: Scene, encoding: Encoding) -> None:
    raw = large()
    (planned,) = await plan(scene, raw, encoding=encoding)
    location = await scene.staging.stage(scene.entry(planned))
    ((name, (body, _)),) = scene.bucket.objects.items()
    assert name == str(location)
    whole = {
        "json": lambda: body,
        "json+gzip": lambda: gzip.decompress(body),
        "json+zstd": lambda: zstandard.ZstdDecompressor().decompress(body),
        "msgpack": lambda: b'"' + body[5:] + b'"',
    }[encoding]()
    assert hashlib.sha256(whole).digest() == hashlib.sha256(raw).digest()
    assert (scene.bucket.puts, scene.bucket.uploads) == (0, [])
    assert scene.memory.free == scene.memory.capacity


async def test_what_becomes_small_is_put_at_once(scene: Scene) -> None:
    raw = b"[" + b"1" * LARGE_BYTES + b"]"
    (planned,) = await plan(scene, raw, encoding="json+zstd")
    await scene.staging.stage(scene.entry(planned))
    assert scene.bucket.puts == 1
    ((body, _),) = scene.bucket.objects.values()
    assert zstandard.decompress(body) == raw


async def test_parts_take_the_memory_that_there_is(scene: Scene) -> None:
    """And no more: another one is written between them."""
    scene.staging.memory = memory = MemoryBudget(PART_BYTES)
    scene.bucket.seconds = 1.0
    (planned, small) = await plan(scene, large(), SOME)
    least, ended = memory.free, []

    async def watch() -> None:
        nonlocal least
        while True:
            least = min(least, memory.free)
            await anyio.sleep(0.1)

    async def stage(planned: Planned) -> None:
        await scene.staging.stage(scene.entry(planned))
        ended.append(planned)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        async with anyio.create_task_group() as staging:
            staging.start_soon(stage, planned)
            await anyio.sleep(0.5)
            staging.start_soon(stage, small)
        group.cancel_scope.cancel()
    assert ended == [small, planned]
    assert (least, memory.free) == (0, PART_BYTES)


async def test_a_part_is_tried_again(scene: Scene) -> None:
    scene.bucket.part_faults = [Transient("503"), None, Throttled("slow"), Transient("reset")]
    (planned,) = await plan(scene, large())
    assert await scene.send([planned]) == []
    assert scene.bucket.aborted == 0
    assert len(scene.bucket.objects) == 1


@pytest.mark.parametrize("faults", [[Rejected("no")], [Transient("503")] * 20], ids=["no", "503"])
async def test_an_upload_that_fails_leaves_nothing(scene: Scene, faults: list[Rejected]) -> None:
    scene.bucket.part_faults = list(faults)
    (planned,) = await plan(scene, large())
    with pytest.raises((Rejected, Transient)):
        await scene.staging.stage(scene.entry(planned))
    assert (scene.bucket.aborted, scene.bucket.uploads, scene.bucket.objects) == (1, [], {})
    assert scene.memory.free == scene.memory.capacity


async def test_an_upload_that_may_have_been_completed_is_looked_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last call, which had made the object, got no response."""

    async def lost(upload: FakeUpload) -> None:
        await completed(upload)
        raise Transient("reset")

    completed = FakeUpload.complete
    monkeypatch.setattr(FakeUpload, "complete", lost)
    (planned,) = await plan(scene, large())
    assert await scene.send([planned]) == []
    assert scene.meter.staged == {"found": 1}
    assert len(scene.bucket.options) == 1


async def test_an_upload_that_is_cancelled_leaves_nothing(scene: Scene) -> None:
    scene.bucket.seconds = 1.0
    (planned,) = await plan(scene, large())
    with anyio.move_on_after(0.5):
        await scene.staging.stage(scene.entry(planned))
    assert (scene.bucket.aborted, scene.bucket.uploads, scene.bucket.objects) == (1, [], {})
    assert scene.memory.free == scene.memory.capacity


async def test_a_payload_beyond_what_an_endpoint_reads_is_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STAGED_BODY_BYTES", 2 * PART_BYTES)
    (planned,) = await plan(scene, large())
    (given_up,) = await scene.send([planned])
    assert given_up.outcomes[0].reason == "call_rejected"
    assert "32,000,000 bytes" in given_up.outcomes[0].message
    assert scene.bucket.uploads == []
