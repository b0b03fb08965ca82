"""A payload that does not fit inline any more goes another way, and never over the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dispatcher import limits
from dispatcher.ledger.invocation import Planned
from dispatcher.packing.codec import Codec
from dispatcher.packing.parcel import Parcel
from dispatcher.packing.values import Format, NotEncodableError
from tests.dispatch.scene import record

if TYPE_CHECKING:
    from tests.dispatch.scene import OpenScene, Scene

PACKED = {"framing": "lines", "max_records": 10}


async def grown(scene: Scene, records: int) -> Planned:
    """Plan an invocation whose payload is larger when it is encoded again, as after an upgrade."""
    items = [record(n, b'{"n":%d,"pad":"%b"}' % (n, b"x" * 60_000)) for n in range(records)]
    raws = [item.raw for item in items]
    parcel = Parcel(
        items, b"as it was", "application/jsonlines", "inline", spooled=b"\n".join(raws)
    )
    (planned,) = await scene.ledger.plan([parcel])
    await scene.ledger.payload(scene.entry(planned))  # it is not in memory any more
    return planned


async def test_several_records_go_on_in_parts(open_scene: OpenScene) -> None:
    async with open_scene(packing=PACKED) as scene:
        planned = await grown(scene, 4)
        assert await scene.send([planned]) == []
        assert scene.service.requests == []
        assert scene.ledger.find(planned.number) is None
        parts = scene.postponed[:]
        assert [len(scene.entry(part).record_refs) for part in parts] == [1, 1, 2]
        assert (scene.meter.split, scene.meter.parts) == (1, 3)
        assert await scene.send(parts) == []
        assert all(len(r.body or b"") <= limits.INLINE_BODY_BYTES for r in scene.service.requests)
        assert [r.inference_id for r in scene.service.requests] == [part.id for part in parts]
        assert scene.memory.free == scene.memory.capacity


@pytest.mark.parametrize("bucket", [True, False])
async def test_a_single_record_goes_through_s3_or_is_dead(
    open_scene: OpenScene, bucket: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INLINE_BODY_BYTES", 50_000)
    staging = {"bucket": "inputs" if bucket else None}
    async with open_scene(packing=PACKED, staging=staging) as scene:
        planned = await grown(scene, 1)
        given_up = await scene.send([planned])
        if bucket:
            (request,) = scene.service.requests
            assert (request.body, given_up) == (None, [])
            assert request.input_location is not None
            assert scene.bucket.objects[request.input_location][0].startswith(b'{"n":0')
        else:
            assert scene.service.requests == []
            ((outcome,),) = [settlement.outcomes for settlement in given_up]
            assert (outcome.status, outcome.reason) == ("rejected", "no_staging")
            assert "staging.bucket" in outcome.message
        assert scene.memory.free == scene.memory.capacity


async def test_a_record_that_cannot_be_encoded_any_more_is_dead_alone(
    open_scene: OpenScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version may refuse what this one encoded; a run must not stop at it."""
    encode = Codec.item

    def refused(self: Codec, raw: bytes, form: Format) -> bytes:
        if b'"n":2' in raw:
            raise NotEncodableError("not by today's rules")
        return encode(self, raw, form)

    async with open_scene(packing=PACKED, staging={"bucket": None}) as scene:
        planned = await grown(scene, 3)
        monkeypatch.setattr(Codec, "item", refused)
        assert await scene.send([planned]) == []
        (dead,) = await scene.send(scene.postponed[:])
        (outcome,) = dead.outcomes
        assert (outcome.key, outcome.reason) == ("key-2", "not_encodable")
        assert "not by today's rules" in outcome.message
        assert len(scene.service.requests) == 2
        assert scene.memory.free == scene.memory.capacity


async def test_what_completed_meanwhile_is_not_split(open_scene: OpenScene) -> None:
    async with open_scene(packing=PACKED) as scene:
        planned = await grown(scene, 4)
        entry = scene.entry(planned)
        assert scene.ledger.claim(entry)
        assert await scene.sender.oversize.handle(entry) is None
        assert scene.postponed == []
        assert scene.ledger.find(planned.number) is entry
