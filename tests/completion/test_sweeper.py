"""Looks into S3: what is due, how it is looked for, and when waiting ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.aws.calls import Location
from dispatcher.completion.event import Completion
from dispatcher.completion.joiner import Claimed
from dispatcher.completion.patience import Patience
from dispatcher.completion.sweeper import Sweeper, due, is_expired
from dispatcher.errors import Denied, RunStopped, Throttled, Transient
from dispatcher.ledger.intent import Entry, Planned
from tests.virtual_time import monotonic

if TYPE_CHECKING:
    from tests.completion.conftest import OpenScene, Scene

PATIENCE = 21_600 + 900 + 60


def sweeper(scene: Scene) -> Sweeper:
    patience = Patience(300.0, monotonic, scene.meter)
    return Sweeper(scene.config, scene.ledger, scene.bucket, scene.meter, patience, scene.now)


async def found(scene: Scene) -> list[tuple[Entry, str]]:
    return [(entry, one.kind) for entry, one in await sweeper(scene).sweep()]


def entry(accepted_at: float | None, looked_at: float | None = None) -> Entry:
    planned = Planned(1, "id", "shard", "application/json", "inline", 5)
    return Entry(planned, [], None, 0, 0.0, accepted_at=accepted_at, looked_at=looked_at)


@pytest.mark.parametrize(
    ("accepted_at", "looked_at", "is_due"),
    [
        (None, None, False),
        (40.1, None, False),
        (40.0, None, True),
        (0.0, 40.1, False),
        (0.0, 40.0, True),
    ],
)
def test_what_is_due(accepted_at: float | None, looked_at: float | None, is_due: bool) -> None:
    one = entry(accepted_at, looked_at)
    assert due([one], 100.0, 60.0) == ([one] if is_due else [])


@given(accepted_at=st.floats(0, 1e6), now=st.floats(0, 1e6), patience=st.floats(0, 1e5))
def test_nothing_expires_within_its_patience(
    accepted_at: float, now: float, patience: float
) -> None:
    assert is_expired(entry(accepted_at), now, patience) == (now - accepted_at > patience)
    assert not is_expired(entry(None), now, patience)


async def test_a_few_are_looked_at_singly(scene: Scene) -> None:
    entries = await scene.accepted(3)
    scene.bucket.objects[scene.output_of(entries[1])] = b"1", None
    await anyio.sleep(59)
    assert await found(scene) == []
    assert scene.bucket.looks == []
    await anyio.sleep(1)
    ((one, completion),) = await sweeper(scene).sweep()
    assert one is entries[1]
    assert (completion.kind, completion.invocation) == ("completed", one.planned.id)
    assert str(completion.location) == scene.output_of(one)
    assert scene.meter.looks == {"head": 5}, "three outputs, and two failures"
    assert await found(scene) == [], "and not again so soon"
    assert scene.meter.looks == {"head": 5}


async def test_many_of_one_folder_are_listed(scene: Scene) -> None:
    entries = await scene.accepted(6)
    for one in entries[:4]:
        scene.bucket.objects[scene.output_of(one)] = b"1", None
    scene.bucket.objects[scene.failure_of(entries[4])] = b"no", None
    await anyio.sleep(60)
    kinds = dict.fromkeys(range(4), "completed") | {4: "failed"}
    assert await found(scene) == [(entries[n], kind) for n, kind in kinds.items()]
    shard = entries[0].planned.shard
    assert scene.bucket.pages == [f"s3://out/results/{shard}/"]
    assert scene.bucket.looks == [scene.failure_of(one) for one in entries[4:]]
    assert scene.meter.looks == {"list": 1, "head": 2}


async def test_folders_of_several_shards_are_looked_at_apart(scene: Scene) -> None:
    entries = await scene.accepted(1004)
    await anyio.sleep(60)
    assert await found(scene) == []
    shards = list(dict.fromkeys(one.planned.shard for one in entries))
    assert len(shards) == 2
    assert scene.bucket.pages == [
        f"s3://out/{kind}/{shard}/" for shard in shards for kind in ("results", "failures")
    ]
    assert scene.bucket.looks == []


async def test_a_folder_of_the_services_own_is_never_listed(scene: Scene) -> None:
    entries = await scene.plan(1, 1, 1, 1, 1)
    for n, one in enumerate(entries):
        scene.ledger.accept(one.planned, scene.now(), f"s3://out/{n}.out", None)
    scene.bucket.objects["s3://out/3.out"] = b"1", None
    await anyio.sleep(60)
    assert await found(scene) == [(entries[3], "completed")]
    assert scene.bucket.pages == []
    assert scene.meter.looks == {"head": 5}


async def test_without_permission_to_list_each_is_looked_at(scene: Scene) -> None:
    entries = await scene.accepted(4)
    for one in entries:
        scene.bucket.objects[scene.output_of(one)] = b"1", None
    scene.bucket.page_faults = [Denied("s3:ListBucket")]
    await anyio.sleep(60)
    assert await found(scene) == [(one, "completed") for one in entries]
    assert scene.meter.looks == {"list": 1, "head": 4}


async def test_past_the_deadline_and_without_a_trace_is_expired(scene: Scene) -> None:
    late, arrived = await scene.accepted(2)
    scene.bucket.objects[scene.output_of(arrived)] = b"1", None
    await anyio.sleep(PATIENCE)
    assert await found(scene) == [(arrived, "completed")]
    await anyio.sleep(60)
    assert await found(scene) == [(late, "expired"), (arrived, "completed")]


async def test_the_deadline_follows_the_request(open_scene: OpenScene) -> None:
    request = {"ttl": "60s", "timeout": "10s"}
    async with open_scene(request=request, completion={"slack": "5s"}) as scene:
        (one,) = await scene.accepted()
        await anyio.sleep(75)
        assert await found(scene) == []
        await anyio.sleep(60)
        assert await found(scene) == [(one, "expired")]


@pytest.mark.parametrize("count", [2, 5], ids=["heads", "list"])
async def test_who_could_not_be_looked_for_is_not_expired(scene: Scene, count: int) -> None:
    entries = await scene.accepted(count)
    await anyio.sleep(PATIENCE + 1)
    scene.bucket.look_faults = [Transient("503")]
    scene.bucket.page_faults = [Throttled("slow")]
    assert await found(scene) == []
    await anyio.sleep(60)
    assert await found(scene) == [(one, "expired") for one in entries]


async def test_what_was_seen_before_a_look_failed_counts(scene: Scene) -> None:
    seen, unseen = await scene.accepted(2)
    for at in map(scene.output_of, (seen, unseen)):
        scene.bucket.objects[at] = b"1", None
    scene.bucket.look_faults = [None, Transient("503")]
    await anyio.sleep(60)
    assert await found(scene) == [(seen, "completed")]
    await anyio.sleep(60)
    assert (unseen, "completed") in await found(scene)


async def test_an_invocation_without_a_location_waits_for_its_event_or_its_deadline(
    scene: Scene,
) -> None:
    (one,) = await scene.plan(1)
    scene.ledger.accept(one.planned, scene.now(), None, None)
    await anyio.sleep(60)
    assert await found(scene) == []
    await anyio.sleep(PATIENCE)
    assert await found(scene) == [(one, "expired")]
    assert scene.meter.looks == {}


async def sweep_for(scene: Scene, seconds: float) -> list[Claimed]:
    claims, to_join = anyio.create_memory_object_stream[Claimed](100)
    with to_join:
        with anyio.move_on_after(seconds):
            await sweeper(scene).run(claims)
        return [one async for one in to_join]


async def test_the_loop_claims_what_it_finds_once(scene: Scene) -> None:
    found_by_us, claimed_by_an_event = await scene.accepted(2)
    for one in (found_by_us, claimed_by_an_event):
        scene.bucket.objects[scene.output_of(one)] = b"1", None
    assert scene.ledger.claim(claimed_by_an_event)
    (claimed,) = await sweep_for(scene, 400)
    assert claimed.entry is found_by_us
    assert isinstance(claimed.completion, Completion)
    assert found_by_us.claimed
    assert scene.meter.looks == {"head": 1, "found": 1}


async def test_an_expiry_is_no_find(scene: Scene) -> None:
    (one,) = await scene.accepted()
    (claimed,) = await sweep_for(scene, PATIENCE + 200)
    assert (claimed.entry, claimed.completion.kind) == (one, "expired")
    assert scene.meter.looks["found"] == 0


async def test_an_event_during_the_look_wins(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = await scene.accepted()
    await anyio.sleep(60)

    async def claimed_meanwhile(_location: Location) -> bool:
        assert scene.ledger.claim(one)
        return True

    monkeypatch.setattr(scene.bucket, "exists", claimed_meanwhile)
    assert await sweep_for(scene, 30) == []
    assert scene.meter.looks == {"head": 1}


async def test_what_cannot_be_seen_does_not_expire_but_stops_the_run(scene: Scene) -> None:
    (one,) = await scene.accepted(1)
    scene.bucket.is_visible = False
    await anyio.sleep(120)
    assert await found(scene) == []
    await anyio.sleep(21_600 + 900 + 60)
    with pytest.raises(Denied, match="s3:GetObject"):
        await sweeper(scene).sweep()
    assert not one.claimed


async def test_a_sweeper_that_nobody_answers_ends_the_run(scene: Scene) -> None:
    await scene.accepted(1)
    looking = sweeper(scene)
    scene.bucket.look_faults = [Transient("down")] * 10
    await anyio.sleep(60)
    for _ in range(5):
        assert await looking.sweep() == []
        await anyio.sleep(60)
    with pytest.raises(RunStopped, match="state kept"):
        await looking.sweep()
