"""Payloads in S3: each content once, known before it is written, gone when nobody needs it."""

import gzip
import hashlib
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache

import anyio
import pytest
import zstandard

from dispatcher import failpoints, limits
from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import InvokeRequest, PutOptions
from dispatcher.config.packing import Encoding
from dispatcher.dispatch.staging import recent_writes
from dispatcher.dispatch.staging.upload import PART_BYTES
from dispatcher.errors import (
    Denied,
    Rejected,
    RunStopped,
    ServiceFailed,
    StateError,
    Throttled,
    Transient,
)
from dispatcher.flow.budget import MemoryBudget
from dispatcher.flow.content import LARGE_BYTES
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.states import State
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record
from tests.dispatch.conftest import OpenScene, Scene
from tests.doubles import FakeUpload

SOME = b'{"some":"content"}'
OTHER = b'{"other":"content"}'
ON_SETTLED = {"bucket": "inputs", "prefix": "staged/", "delete": "on_settled"}


class Died(BaseException):
    """Stands for a killed process."""


async def plan(scene: Scene, *raws: bytes, encoding: Encoding = "json") -> list[Planned]:
    parcels = []
    for raw in raws:
        number = next(scene._numbers)
        position = Position("in", number * 10, number * 10 + 10, number + 1)
        record = Record(position, f"key-{number}", raw)
        payload = b"" if len(raw) >= LARGE_BYTES else raw
        kept = raw if len(raw) >= LARGE_BYTES else None
        parcels.append(Parcel([record], payload, "application/json", "s3", encoding, kept))
    return await scene.ledger.plan(parcels)


@asynccontextmanager
async def disposing(scene: Scene) -> AsyncIterator[None]:
    """Delete in the background; at the end everything is deleted, or was tried in vain."""
    async with anyio.create_task_group() as group:
        group.start_soon(scene.staging.cleanup.run)
        yield
        await scene.staging.cleanup.finish()


@asynccontextmanager
async def dying_at(name: str) -> AsyncIterator[None]:
    def hook(reached: str) -> None:
        if reached == name:
            raise Died

    failpoints.hooks.append(hook)
    try:
        with pytest.raises(Died):
            yield
    finally:
        failpoints.hooks.remove(hook)


def resumed(scene: Scene) -> list[Entry]:
    return [scene.entry(planned) for planned in scene.ledger.resumed]


async def test_the_key_spreads_the_load_and_names_the_run(scene: Scene) -> None:
    (planned,) = await plan(scene, SOME)
    location = await scene.staging.stage(scene.entry(planned))
    assert location is not None
    begin, two, tag, digest = location.key.split("/")
    assert (begin, two, tag) == ("staged", digest[:2], scene.ledger.tag)
    assert len(bytes.fromhex(digest)) == 32
    assert scene.bucket.objects == {str(location): (SOME, "application/json")}
    assert scene.entry(planned).staged == str(location)


async def test_the_same_content_is_put_once_by_many_at_once(scene: Scene) -> None:
    scene.bucket.seconds = 5.0
    intents = await plan(scene, *[SOME] * 5, OTHER)
    assert await scene.send(intents, loops=6) == []
    assert scene.bucket.puts == 2
    assert scene.meter.staged == {"uploaded": 2, "shared": 4}
    locations = [request.input_location for request in scene.service.requests]
    assert len(locations) == 6
    assert len(set(locations)) == 2


async def test_the_same_content_of_another_kind_is_another_object(scene: Scene) -> None:
    places = {await scene.staging.stage(scene.entry((await plan(scene, SOME))[0]))}
    for encoding, content_type in (("json", "x/y"), ("raw", "application/json")):
        record = Record(Position("in", 0, 10, 1), "k", SOME)
        (planned,) = await scene.ledger.plan(
            [Parcel([record], SOME, content_type, "s3", encoding, None)]  # type: ignore[arg-type]
        )
        places.add(await scene.staging.stage(scene.entry(planned)))
    assert len(places) == 3


async def test_who_waited_for_an_upload_that_failed_does_it_himself(scene: Scene) -> None:
    scene.bucket.seconds = 1.0
    scene.bucket.put_faults = [Transient("503")]
    intents = await plan(scene, SOME, SOME)
    assert await scene.send(intents, loops=2) == []
    assert len(scene.bucket.objects) == 1
    assert all(scene.entry(planned).state is State.ACCEPTED for planned in intents)


async def test_an_outage_of_s3_is_no_records_fault_in_a_later_process_either(
    open_scene: OpenScene,
) -> None:
    """The last invocation of a resumed run would be given up where the endpoint itself failed."""
    async with open_scene() as scene:
        await plan(scene, SOME)
    async with open_scene(retry={"give_up_after": "30s", "attempts": 1_000}) as again:
        (entry,) = resumed(again)
        again.bucket.put_faults = [ServiceFailed("503") for _ in range(1_000)]
        with pytest.raises(RunStopped, match="no call has succeeded"):
            await again.send([entry.planned])
        assert again.ledger.outstanding == 1


async def test_the_place_is_durable_before_anything_is_written(open_scene: OpenScene) -> None:
    async with dying_at("dispatch.staging"), open_scene() as scene:
        await scene.send(await plan(scene, SOME))
    assert scene.bucket.objects == {}
    async with open_scene() as again:
        (entry,) = resumed(again)
        assert entry.staged is not None
        assert again.ledger.staged.is_used(entry.staged)
        location = await again.staging.stage(entry)
        assert str(location) == entry.staged
        assert again.bucket.looks == [entry.staged]
        assert list(again.bucket.objects) == [entry.staged]


async def test_what_an_earlier_process_put_is_not_put_again(open_scene: OpenScene) -> None:
    async with dying_at("dispatch.staged"), open_scene() as scene:
        await scene.send(await plan(scene, SOME))
    ((name, _),) = scene.bucket.objects.items()
    async with open_scene() as again:
        again.bucket.objects = scene.bucket.objects
        await again.send([entry.planned for entry in resumed(again)])
        assert again.bucket.puts == 0
        assert again.meter.staged == {"found": 1}
        assert [request.input_location for request in again.service.requests] == [name]


async def test_an_object_of_another_size_is_written_again(open_scene: OpenScene) -> None:
    async with dying_at("dispatch.staged"), open_scene() as scene:
        await scene.send(await plan(scene, SOME))
    ((name, _),) = scene.bucket.objects.items()
    async with open_scene() as again:
        again.bucket.objects = {name: (SOME[:-1], "application/json")}
        (entry,) = resumed(again)
        await again.staging.stage(entry)
        assert again.bucket.objects == {name: (SOME, "application/json")}


async def test_what_cannot_be_seen_is_written_again(open_scene: OpenScene) -> None:
    async with dying_at("dispatch.staged"), open_scene() as scene:
        await scene.send(await plan(scene, SOME))
    async with open_scene() as again:
        again.bucket.objects, again.bucket.is_visible = scene.bucket.objects, False
        (entry,) = resumed(again)
        assert await again.staging.stage(entry) is not None
        assert again.bucket.puts == 1


async def test_a_new_attempt_looks_and_writes_what_is_gone(scene: Scene) -> None:
    """A lifecycle rule may have removed it."""
    (planned,) = await plan(scene, SOME)
    await scene.send([planned])
    for is_gone, puts in ((False, 1), (True, 2)):
        entry = scene.entry(planned)
        if is_gone:
            scene.bucket.objects.clear()
        scene.ledger.claim(entry)
        (planned,) = await scene.ledger.replace(entry, after=0.0)
        await scene.send([planned])
        assert scene.bucket.puts == puts
        assert list(scene.bucket.objects) == [scene.service.requests[-1].input_location]


async def test_another_bucket_is_used_where_the_first_has_it_no_more(
    open_scene: OpenScene,
) -> None:
    async with dying_at("dispatch.staged"), open_scene() as scene:
        await scene.send(await plan(scene, SOME))
    (old,) = scene.bucket.objects
    async with open_scene(staging={"bucket": "others", "prefix": "p/"}) as again:
        (entry,) = resumed(again)
        location = await again.staging.stage(entry)
        assert location is not None
        assert (location.bucket, location.key[:2]) == ("others", "p/")
        async with disposing(again):
            pass
        assert again.bucket.deletes == [old]


async def test_a_look_that_fails_is_repeated(open_scene: OpenScene) -> None:
    async with dying_at("dispatch.staged"), open_scene() as scene:
        await scene.send(await plan(scene, SOME))
    async with open_scene() as again:
        again.bucket.objects = scene.bucket.objects
        (entry,) = resumed(again)
        entry.planned = replace(entry.planned, may_have_been_sent=False)
        again.bucket.look_faults = [Transient("503"), Throttled("slow")]
        await again.send([entry.planned])
        assert again.bucket.puts == 0
        assert entry.state is State.ACCEPTED


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


async def test_what_completed_meanwhile_is_not_staged(scene: Scene) -> None:
    (planned,) = await plan(scene, SOME)
    entry = scene.entry(planned)
    await scene.settle(planned.number)
    assert await scene.staging.stage(entry) is None
    assert scene.bucket.puts == 0
    assert not scene.ledger.staged._uses


async def test_what_completes_while_it_is_written_is_deleted(scene: Scene) -> None:
    scene.bucket.seconds = 10.0
    (planned,) = await plan(scene, SOME)
    async with disposing(scene), anyio.create_task_group() as group:
        group.start_soon(scene.send, [planned])
        await anyio.sleep(5)
        await scene.settle(planned.number)
    assert (scene.bucket.puts, scene.bucket.objects) == (1, {})
    assert scene.service.requests == []


async def test_how_it_is_kept_travels_with_it(open_scene: OpenScene) -> None:
    key = "arn:aws:kms:eu-west-1:1:key/k"
    kept = {"encryption": "aws:kms", "kms_key": key, "tags": {"team": "a+b", "x y": "ä"}}
    async with open_scene(staging={"bucket": "inputs", **kept}) as scene:
        for raw in (SOME, b"[" + b"1" * LARGE_BYTES + b"]"):
            (planned,) = await plan(scene, raw)
            await scene.staging.stage(scene.entry(planned))
    tagging = "team=a%2Bb&x%20y=%C3%A4"
    assert scene.bucket.options == [PutOptions("aws:kms", key, tagging)] * 2


# Large records


@cache
def large(size: int = 5 * PART_BYTES // 2) -> bytes:
    return b'"' + random.Random(1).randbytes(size // 2).hex().encode() + b'"'


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

    async def stage(one: Planned) -> None:
        await scene.staging.stage(scene.entry(one))
        ended.append(one)

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
    """No answer came to the last call, which had made the object."""

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


async def test_parts_that_a_dead_process_left_are_deleted(open_scene: OpenScene) -> None:
    async with dying_at("dispatch.staging"), open_scene() as scene:
        await scene.send(await plan(scene, large()))
    async with open_scene() as again:
        (entry,) = resumed(again)
        location = parse_location(entry.staged or "")
        assert location is not None
        await again.bucket.upload(location, "application/json", PutOptions())  # as the dead one
        await again.staging.stage(entry)
        assert (again.bucket.aborted, again.bucket.uploads) == (1, [])
        assert len(again.bucket.objects) == 1


async def test_a_payload_beyond_what_an_endpoint_reads_is_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STAGED_BODY_BYTES", 2 * PART_BYTES)
    (planned,) = await plan(scene, large())
    (given_up,) = await scene.send([planned])
    assert given_up.outcomes[0].reason == "call_rejected"
    assert "32,000,000 bytes" in given_up.outcomes[0].message
    assert scene.bucket.uploads == []


async def test_a_large_record_that_its_encoding_cannot_carry_is_a_dead_letter(
    scene: Scene,
) -> None:
    (planned,) = await plan(scene, b"[NaN" + b" " * LARGE_BYTES + b"]", encoding="msgpack")
    (given_up,) = await scene.send([planned])
    assert given_up.outcomes[0].reason == "not_encodable"
    assert scene.service.requests == []
    assert scene.memory.free == scene.memory.capacity


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


async def test_a_large_record_that_cannot_be_read_stops_the_run(scene: Scene) -> None:
    (planned,) = await plan(scene, large())
    ref = scene.entry(planned).payload
    assert ref is not None
    file = scene.ledger._spool._path(ref.segment)
    with file.open("r+b") as spooled:
        spooled.seek(ref.offset + ref.size - 10)
        spooled.write(b"?")
    with pytest.raises(StateError, match="cannot be read"):
        await scene.send([planned])
    assert scene.bucket.uploads == []


# Deletion


async def test_it_is_deleted_with_the_last_that_needs_it(scene: Scene) -> None:
    first, second = await plan(scene, SOME, SOME)
    async with disposing(scene):
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
        async with disposing(scene):
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
            async with disposing(again):
                pass
            assert again.bucket.deletes == deletes
    assert scene.bucket.objects == {}


async def test_deleting_and_staging_anew_do_not_meet(scene: Scene) -> None:
    """Whatever the order of the two: the object that is called with is there."""

    async def is_there(request: InvokeRequest) -> None:
        assert request.input_location in scene.bucket.objects
        await anyio.sleep(5)
        assert request.input_location in scene.bucket.objects

    rng = random.Random(7)
    scene.bucket.seconds = 1.0
    async with disposing(scene):
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


async def test_nobody_stages_while_a_deletion_may_still_have_its_effect(scene: Scene) -> None:
    scene.bucket.delete_faults = [Transient("no answer"), Transient("no answer")]
    first, second = await plan(scene, SOME, SOME)
    async with disposing(scene):
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
            async with disposing(scene):
                await scene.send(intents)
                await scene.settle(*[planned.number for planned in intents])
    assert scene.meter.staged["deletion_denied"] == 3
    (said,) = [r.getMessage() for r in caplog.records if r.name.startswith("dispatcher.dispatch")]
    assert "s3:DeleteObject" in said
    assert "staging.delete" in said
    async with open_scene() as again:  # with the permission
        again.bucket.objects = scene.bucket.objects
        async with disposing(again):
            pass
    assert scene.bucket.objects == {}


async def test_a_deletion_that_fails_is_tried_again_and_left_at_last(
    open_scene: OpenScene,
) -> None:
    async with open_scene() as scene:
        scene.bucket.delete_faults = [Transient("503"), Throttled("slow")]
        (planned,) = await plan(scene, SOME)
        async with disposing(scene):
            await scene.send([planned])
            await scene.settle(planned.number)
        assert (len(scene.bucket.deletes), scene.bucket.objects) == (3, {})
        scene.bucket.delete_faults = [Transient("503")] * 5
        (planned,) = await plan(scene, OTHER)
        scene.staging.cleanup._is_closing = False
        async with disposing(scene):
            await scene.send([planned])
            await scene.settle(planned.number)
        assert scene.meter.staged["deletion_failed"] == 1
    (name,) = scene.bucket.objects
    async with open_scene() as again:
        async with disposing(again):
            pass
        assert again.bucket.deletes == [name]


async def test_an_outage_does_not_hold_up_the_end(scene: Scene) -> None:
    intents = await plan(scene, *[b"%d" % number for number in range(100)])
    await scene.send(intents)
    await scene.settle(*[planned.number for planned in intents])
    scene.bucket.delete_faults = [Transient("503")] * 10_000
    began = anyio.current_time()
    async with disposing(scene):
        pass
    assert anyio.current_time() - began < 60
    assert scene.meter.staged["deletion_failed"] == 100


async def test_nothing_is_written_whose_place_cannot_be_stored(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (planned,) = await plan(scene, SOME)

    def full(*_: object) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr(scene.ledger._group_commit._store, "apply", full)
    with pytest.raises(StateError):
        await scene.staging.stage(scene.entry(planned))
    assert scene.bucket.puts == 0
    monkeypatch.undo()
    scene.ledger._group_commit._failure = None  # so that it can be closed
