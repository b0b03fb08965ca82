"""The base of output keys is learnt from chosen locations alone, and remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dispatcher.dispatch.acceptance import AcceptanceProbe
from dispatcher.errors import Transient

if TYPE_CHECKING:
    from tests.dispatch.scene import OpenScene, Scene


@pytest.mark.parametrize(
    ("base", "looked_at"),
    [
        ("s3://out/a/b", "s3://out/a/b"),
        ("https://out.s3.eu-west-1.amazonaws.com/a", "s3://out/a"),
        ("https://s3.eu-west-1.amazonaws.com/out", "s3://out"),
    ],
)
async def test_the_next_process_knows_what_the_first_learnt(
    open_scene: OpenScene, base: str, looked_at: str
) -> None:
    async with open_scene() as scene:
        first, second = await scene.plan(2)
        probe = AcceptanceProbe(ledger=scene.ledger, objects=scene.bucket, is_chosen=True)
        assert not await probe.was_accepted(second)
        assert scene.bucket.looks == []
        await probe.learn(first, f"{base}/{first.shard}/{first.id}.out", None)
        await probe.learn(second, "s3://elsewhere/not/chosen.out", None)
    async with open_scene() as scene:
        probe = AcceptanceProbe(ledger=scene.ledger, objects=scene.bucket, is_chosen=True)
        assert not await probe.was_accepted(second)
        assert scene.bucket.looks == [f"{looked_at}/{second.shard}/{second.id}.out"]


@pytest.mark.parametrize("location", [None, "s3://out/37a32ca5.out", "s3://out/x/y.out", ""])
async def test_a_name_of_the_services_own_teaches_nothing(
    scene: Scene, location: str | None
) -> None:
    first, second = await scene.plan(2)
    probe = AcceptanceProbe(ledger=scene.ledger, objects=scene.bucket, is_chosen=True)
    await probe.learn(first, location, None)
    assert not await probe.was_accepted(second)
    assert scene.bucket.looks == []


async def test_a_base_that_is_no_location_of_s3_is_never_looked_at(scene: Scene) -> None:
    first, second = await scene.plan(2)
    probe = AcceptanceProbe(ledger=scene.ledger, objects=scene.bucket, is_chosen=True)
    await probe.learn(first, f"ftp://out/{first.shard}/{first.id}.out", None)
    assert not await probe.was_accepted(second)
    assert scene.bucket.looks == []


async def test_evidence_for_what_is_settled_changes_nothing(scene: Scene) -> None:
    first, second = await scene.plan(2)
    probe = AcceptanceProbe(ledger=scene.ledger, objects=scene.bucket, is_chosen=True)
    await probe.learn(first, scene.output_of(first), None)
    scene.bucket.objects[scene.output_of(second)] = b"1", "text/plain"
    await scene.settle(second.number)
    assert await probe.was_accepted(second)
    assert scene.ledger.find(second.number) is None


async def test_a_failure_object_is_evidence_too(scene: Scene) -> None:
    first, second = await scene.plan(2)
    probe = AcceptanceProbe(ledger=scene.ledger, objects=scene.bucket, is_chosen=True)
    failures = f"s3://out/failures/{first.shard}/{first.id}-error.out"
    await probe.learn(first, scene.output_of(first), failures)
    failure = f"s3://out/failures/{second.shard}/{second.id}-error.out"
    scene.bucket.objects[failure] = b"no", "text/plain"
    assert await probe.was_accepted(second)
    entry = scene.entry(second)
    assert (entry.output, entry.failure) == (scene.output_of(second), failure)


async def test_there_is_no_look_where_the_service_names_outputs(scene: Scene) -> None:
    first, second = await scene.plan(2)
    probe = AcceptanceProbe(ledger=scene.ledger, objects=scene.bucket, is_chosen=False)
    await probe.learn(first, scene.output_of(first), None)
    assert not await probe.was_accepted(second)
    assert scene.bucket.looks == []


async def test_a_look_that_fails_is_no_evidence(scene: Scene) -> None:
    first, second = await scene.plan(2)
    probe = AcceptanceProbe(ledger=scene.ledger, objects=scene.bucket, is_chosen=True)
    await probe.learn(first, scene.output_of(first), None)
    scene.bucket.look_faults = [Transient("503")]
    with pytest.raises(Transient):
        await probe.was_accepted(second)


async def test_an_endpoint_whose_output_path_changed_is_looked_at_there(scene: Scene) -> None:
    first, second, third = await scene.plan(3)
    probe = AcceptanceProbe(ledger=scene.ledger, objects=scene.bucket, is_chosen=True)
    for base, planned in (("s3://out/old", first), ("s3://out/new", second)):
        await probe.learn(planned, f"{base}/{planned.shard}/{planned.id}.out", None)
    assert not await probe.was_accepted(third)
    assert scene.bucket.looks == [f"s3://out/new/{third.shard}/{third.id}.out"]
    assert scene.ledger.fact("output_base") == "s3://out/new"
