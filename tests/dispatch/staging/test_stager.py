"""Staging: each content once, its location durable before it is written, and over crashes."""

from dataclasses import replace

import pytest

from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import PutOptions
from dispatcher.errors import (
    RunStopped,
    ServiceFailed,
    StateError,
    Throttled,
    Transient,
)
from dispatcher.flow.content import LARGE_BYTES
from dispatcher.ledger.states import State
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record
from tests.dispatch.scene import OpenScene, Scene
from tests.dispatch.staging.actions import SOME, cleaning, dying_at, large, plan, resumed


async def test_the_key_spreads_the_load_and_names_the_run(scene: Scene) -> None:
    (planned,) = await plan(scene, SOME)
    location = await scene.staging.stage(scene.entry(planned))
    assert location is not None
    begin, two, tag, digest = location.key.split("/")
    assert (begin, two, tag) == ("staged", digest[:2], scene.ledger.tag)
    assert len(bytes.fromhex(digest)) == 32
    assert scene.bucket.objects == {str(location): (SOME, "application/json")}
    assert scene.entry(planned).staged == str(location)


async def test_the_same_content_of_another_kind_is_another_object(scene: Scene) -> None:
    places = {await scene.staging.stage(scene.entry((await plan(scene, SOME))[0]))}
    for encoding, content_type in (("json", "x/y"), ("raw", "application/json")):
        record = Record(Position("in", 0, 10, 1), "k", SOME)
        (planned,) = await scene.ledger.plan(
            [Parcel([record], SOME, content_type, "s3", encoding, None)]  # type: ignore[arg-type]
        )
        places.add(await scene.staging.stage(scene.entry(planned)))
    assert len(places) == 3


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
        async with cleaning(again):
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


async def test_what_completed_meanwhile_is_not_staged(scene: Scene) -> None:
    (planned,) = await plan(scene, SOME)
    entry = scene.entry(planned)
    await scene.settle(planned.number)
    assert await scene.staging.stage(entry) is None
    assert scene.bucket.puts == 0
    assert not scene.ledger.staged._uses


async def test_how_it_is_kept_travels_with_it(open_scene: OpenScene) -> None:
    key = "arn:aws:kms:eu-west-1:1:key/k"
    kept = {"encryption": "aws:kms", "kms_key": key, "tags": {"team": "a+b", "x y": "ä"}}
    async with open_scene(staging={"bucket": "inputs", **kept}) as scene:
        for raw in (SOME, b"[" + b"1" * LARGE_BYTES + b"]"):
            (planned,) = await plan(scene, raw)
            await scene.staging.stage(scene.entry(planned))
    tagging = "team=a%2Bb&x%20y=%C3%A4"
    assert scene.bucket.options == [PutOptions("aws:kms", key, tagging)] * 2


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


async def test_a_large_record_that_its_encoding_cannot_carry_is_a_dead_letter(
    scene: Scene,
) -> None:
    (planned,) = await plan(scene, b"[NaN" + b" " * LARGE_BYTES + b"]", encoding="msgpack")
    (given_up,) = await scene.send([planned])
    assert given_up.outcomes[0].reason == "not_encodable"
    assert scene.service.requests == []
    assert scene.memory.free == scene.memory.capacity


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
