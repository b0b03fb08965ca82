"""The requests of the sweep: one page for many, single probes for few, within the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from dispatcher.aws.requests import Location
from dispatcher.completion.sweep.observations import Observations
from dispatcher.completion.sweep.prober import Prober
from dispatcher.completion.sweep.schedule import LIST_FROM, Probe
from dispatcher.errors import Denied
from dispatcher.retry.token_bucket import TokenBucket
from tests.completion.scene import DEADLINE_SECONDS, QUEUE, found, make_sweeper, sweep_for
from tests.virtual_time import monotonic

if TYPE_CHECKING:
    from tests.completion.scene import OpenScene, Scene


async def test_many_of_one_folder_are_listed(scene: Scene) -> None:
    entries = await scene.accepted(LIST_FROM + 2)
    there, failed, missing = entries[:-2], entries[-2], entries[-1]
    for entry in there:
        scene.bucket.objects[scene.output_of(entry)] = b"1", None
    scene.bucket.objects[scene.failure_of(failed)] = b"no", None
    await anyio.sleep(60)
    assert await found(scene) == [*((entry, "completed") for entry in there), (failed, "failed")]
    assert scene.bucket.pages == [f"s3://out/results/{entries[0].planned.shard}/"]
    assert scene.bucket.looks == [scene.failure_of(entry) for entry in (failed, missing)]
    assert scene.meter.sweep_requests == {"list": 1, "head": 2}


async def test_outputs_and_failures_of_one_folder_take_one_page(scene: Scene) -> None:
    entries = await scene.plan(*[1] * 20)
    for entry in entries:
        failure = scene.output_of(entry).replace(".out", "-error.out")
        scene.ledger.accept(entry.planned, scene.now(), scene.output_of(entry), failure)
    for entry in entries[5:]:
        scene.bucket.objects[scene.output_of(entry)] = b"1", None
    scene.bucket.objects[str(entries[3].failure)] = b"no", None
    await anyio.sleep(60)
    assert (entries[3], "failed") in await found(scene)
    assert scene.meter.sweep_requests == {"list": 1}


async def test_a_full_page_is_no_proof_of_what_it_cannot_hold(scene: Scene) -> None:
    entries = await scene.accepted(20)
    folder = f"s3://out/results/{entries[0].planned.shard}/"
    scene.bucket.objects |= {f"{folder}!{n}": (b"foreign", None) for n in range(1000)}
    for entry in entries[5:]:
        scene.bucket.objects[scene.output_of(entry)] = b"1", None
    await anyio.sleep(60)
    assert await found(scene) == [(entry, "completed") for entry in entries[5:]]
    assert scene.meter.sweep_requests == {"list": 1, "head": 20 + 5}


async def test_single_probes_are_made_a_few_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.accepted(10)
    max_under_way = under_way = 0

    async def slow(_location: Location) -> bool:
        nonlocal max_under_way, under_way
        under_way += 1
        max_under_way = max(max_under_way, under_way)
        await anyio.sleep(1)
        under_way -= 1
        return True

    monkeypatch.setattr(scene.bucket, "exists", slow)
    await anyio.sleep(60)
    began = monotonic()
    assert len(await found(scene)) == 10
    assert (max_under_way, monotonic() - began) == (8, 2.0)


async def test_a_refused_list_is_asked_once_and_each_is_probed(scene: Scene) -> None:
    entries = await scene.accepted(20)
    for entry in entries[1:]:
        scene.bucket.objects[scene.output_of(entry)] = b"1", None
    scene.bucket.page_faults = [Denied("s3:ListBucket")]
    await anyio.sleep(45)
    sweeper = make_sweeper(scene)
    claims = await sweep_for(scene, 30, sweeper)
    assert [claimed.entry for claimed in claims] == entries[1:]
    assert scene.meter.sweep_requests == {"list": 1, "head": 21}
    assert scene.meter.sweep_completions == 19
    await scene.settle(*entries[1:])
    more = await scene.accepted(20)
    claims = await sweep_for(scene, 90, sweeper)
    assert claims == []
    assert scene.meter.sweep_requests["list"] == 1
    assert scene.meter.sweep_requests["head"] > 21 + 2 * len(more)


async def test_looks_keep_to_the_budget_and_every_one_is_made(open_scene: OpenScene) -> None:
    async with open_scene(completion=QUEUE | {"sweep_budget": 5}) as scene:
        entries = await scene.plan(*[1] * 200)
        for n, entry in enumerate(entries):
            scene.ledger.accept(entry.planned, scene.now(), f"s3://out/{n}.out", None)
        await anyio.sleep(45)
        for seconds in (15, 5, 10, 10):
            before = scene.meter.sweep_requests.total()
            await sweep_for(scene, seconds)
            assert scene.meter.sweep_requests.total() - before <= 5 * (seconds + 1)
        await sweep_for(scene, 25)
        assert set(scene.bucket.looks) == {entry.output for entry in entries}


async def test_a_bucket_that_may_not_be_listed_is_not_asked_by_what_was_planned_before(
    scene: Scene,
) -> None:
    entries = await scene.accepted(2)
    prober = Prober(
        objects=scene.bucket,
        budget=TokenBucket(50),
        observe=scene.meter.observe,
        now=scene.now,
        refused={"out"},
    )
    observations = Observations()
    folder = str(entries[0].output).rpartition("/")[0]
    await prober.probe([Probe(folder, entries)], "output", observations)
    assert (scene.meter.sweep_requests, observations.shows(entries[0].output)) == ({}, None)


async def test_a_location_of_no_known_form_is_waited_for_until_the_deadline(
    scene: Scene,
) -> None:
    (entry,) = await scene.plan(1)
    scene.ledger.accept(entry.planned, scene.now(), "ftp://out/1.out", None)
    (claimed,) = await sweep_for(scene, DEADLINE_SECONDS + 15)
    assert (claimed.entry, claimed.completion.kind) == (entry, "expired")
    assert scene.meter.sweep_requests == {}
