"""The sweep: looks for what is overdue, and expires what has left no trace by its deadline."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest

from dispatcher.aws.requests import Location
from dispatcher.completion.joiner import Claimed
from dispatcher.completion.sweep import sweeper as module
from dispatcher.errors import Denied, RunStopped, Throttled, Transient
from dispatcher.ledger.invocation import Entry
from tests.completion.scene import DEADLINE_SECONDS, QUEUE, found, make_sweeper, sweep_for
from tests.virtual_time import monotonic

if TYPE_CHECKING:
    from tests.completion.scene import OpenScene, Scene


async def test_a_few_are_probed_singly(scene: Scene) -> None:
    entries = await scene.accepted(3)
    scene.bucket.objects[scene.output_of(entries[1])] = b"1", None
    await anyio.sleep(59)
    assert await found(scene) == []
    assert scene.bucket.looks == []
    await anyio.sleep(1)
    ((completed, completion),) = await make_sweeper(scene).sweep()
    assert completed is entries[1]
    assert (completion.kind, completion.invocation) == ("completed", completed.planned.id)
    assert str(completion.location) == scene.output_of(completed)
    assert scene.meter.sweep_requests == {"head": 5}, "three outputs, and two failures"
    scene.ledger.claim(completed)
    assert await found(scene) == [], "and not again so soon"
    assert scene.meter.sweep_requests == {"head": 5}


@pytest.mark.parametrize(("complete", "requests"), [(True, 5), (False, 10)])
async def test_five_thousand_in_five_folders_cost_a_page_each(
    open_scene: OpenScene, complete: bool, requests: int
) -> None:
    async with open_scene(completion=QUEUE, limits={"outstanding": 5000}) as scene:
        entries = await scene.accepted(4999)
        for entry in entries if complete else ():
            scene.bucket.objects[scene.output_of(entry)] = b"1", None
        await anyio.sleep(45)
        claims = await sweep_for(scene, 30)
        assert len(claims) == (4999 if complete else 0)
        assert scene.meter.sweep_requests == {"list": requests}
        assert scene.meter.sweep_completions == (4999 if complete else 0)


async def test_a_folder_of_the_services_own_is_never_listed(scene: Scene) -> None:
    entries = await scene.plan(*[1] * 40)
    for n, entry in enumerate(entries):
        scene.ledger.accept(entry.planned, scene.now(), f"s3://out/{n}.out", None)
    scene.bucket.objects["s3://out/3.out"] = b"1", None
    await anyio.sleep(60)
    sweeper = make_sweeper(scene)
    assert await found(scene, sweeper) == [(entries[3], "completed")]
    assert await found(scene, sweeper) == []
    assert scene.bucket.pages == []
    assert scene.meter.sweep_requests == {"head": 40}


async def test_in_haste_pages_are_read_for_fewer(open_scene: OpenScene) -> None:
    async with open_scene(completion=QUEUE | {"sweep_budget": 1}) as scene:
        await scene.accepted(8)
        await anyio.sleep(60)
        assert await found(scene) == []
        assert scene.meter.sweep_requests == {"list": 2}


async def test_what_is_settled_while_waiting_is_not_looked_for(open_scene: OpenScene) -> None:
    async with open_scene(completion=QUEUE | {"sweep_budget": 2}) as scene:
        entries = await scene.plan(1, 1, 1)
        for n, entry in enumerate(entries):
            scene.ledger.accept(entry.planned, scene.now(), f"s3://out/{n}.out", None)
        await anyio.sleep(60)
        sweeper = make_sweeper(scene)
        await sweeper.sweep()
        assert scene.ledger.claim(entries[1])
        await sweeper.sweep()
        assert scene.bucket.looks == ["s3://out/0.out", "s3://out/2.out"]


async def test_a_scan_hands_on_the_most_urgent_and_the_next_one_the_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_WAITING", 2)
    entries = []
    for _ in range(5):
        entries += await scene.accepted()
        await anyio.sleep(1)
    await anyio.sleep(60)
    sweeper = make_sweeper(scene)
    for count in (2, 4, 5, 5):
        await sweeper.sweep()
        looked_for = [entry for entry in entries if entry.output in scene.bucket.looks]
        assert looked_for == entries[:count]


async def test_scans_are_rare_where_there_is_much_to_scan(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_SCANNED_PER_SECOND", 1)
    await scene.accepted(120)
    scans, accepted = [], scene.ledger.accepted

    def scanned() -> list[Entry]:
        scans.append(monotonic())
        return accepted()

    monkeypatch.setattr(scene.ledger, "accepted", scanned)
    await sweep_for(scene, 400)
    assert [later - earlier for earlier, later in pairwise(scans)] == [120.0] * 3


async def test_probes_that_were_to_be_repeated_are_forgotten_with_their_invocations(
    scene: Scene,
) -> None:
    (entry,) = await scene.accepted()
    scene.bucket.look_faults = [Transient("503")]
    await anyio.sleep(60)
    sweeper = make_sweeper(scene)
    await sweeper.sweep()
    assert list(sweeper._postponed) == [entry.planned.number]
    assert scene.ledger.claim(entry)
    await scene.settle(entry)
    await anyio.sleep(60)
    await sweeper.sweep()
    assert sweeper._postponed == {}


async def test_past_the_deadline_and_without_a_trace_is_expired(scene: Scene) -> None:
    late, arrived = await scene.accepted(2)
    scene.bucket.objects[scene.output_of(arrived)] = b"1", None
    await anyio.sleep(DEADLINE_SECONDS - 0.01)
    assert await found(scene) == [(arrived, "completed")]
    await anyio.sleep(0.01)
    assert await found(scene) == [(late, "expired"), (arrived, "completed")]


async def test_the_deadline_follows_the_request(open_scene: OpenScene) -> None:
    request = {"ttl": "60s", "timeout": "10s"}
    async with open_scene(request=request, completion=QUEUE | {"slack": "5s"}) as scene:
        (entry,) = await scene.accepted()
        await anyio.sleep(74.9)
        assert await found(scene) == []
        await anyio.sleep(0.1)
        assert await found(scene) == [(entry, "expired")]


async def test_the_last_look_is_at_the_deadline_and_there_are_few_before(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    assert await sweep_for(scene, DEADLINE_SECONDS - 1) == []
    assert scene.meter.sweep_requests["head"] < 2 * 16
    (claimed,) = await sweep_for(scene, 17)
    assert (claimed.entry, claimed.completion.kind) == (entry, "expired")
    assert scene.meter.sweep_completions == 0, "an expiry is no find"


async def test_an_output_that_comes_just_before_the_deadline_counts(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    assert await sweep_for(scene, DEADLINE_SECONDS - 1) == []
    scene.bucket.objects[scene.output_of(entry)] = b"1", None
    (claimed,) = await sweep_for(scene, 17)
    assert claimed.completion.kind == "completed"


@pytest.mark.parametrize("count", [2, 20], ids=["heads", "list"])
async def test_what_could_not_be_looked_for_is_not_expired(scene: Scene, count: int) -> None:
    entries = await scene.accepted(count)
    await anyio.sleep(DEADLINE_SECONDS)
    scene.bucket.look_faults = [Transient("503"), Transient("503")]
    scene.bucket.page_faults = [Throttled("slow")]
    sweeper = make_sweeper(scene)
    assert await found(scene, sweeper) == []
    await anyio.sleep(14)
    assert await found(scene, sweeper) == []
    await anyio.sleep(1)
    assert await found(scene, sweeper) == [(entry, "expired") for entry in entries]


async def test_what_was_seen_although_another_probe_failed_counts(scene: Scene) -> None:
    seen, unseen = await scene.accepted(2)
    for at in map(scene.output_of, (seen, unseen)):
        scene.bucket.objects[at] = b"1", None
    scene.bucket.look_faults = [None, Transient("503")]
    await anyio.sleep(60)
    sweeper = make_sweeper(scene)
    assert await found(scene, sweeper) == [(seen, "completed")]
    await anyio.sleep(15)
    assert (unseen, "completed") in await found(scene, sweeper)


async def test_a_failure_object_says_nothing_while_the_output_could_not_be_seen(
    scene: Scene,
) -> None:
    (entry,) = await scene.accepted()
    scene.bucket.objects |= dict.fromkeys(
        (scene.output_of(entry), str(entry.failure)), (b"1", None)
    )
    scene.bucket.look_faults = [Transient("503")]
    await anyio.sleep(60)
    sweeper = make_sweeper(scene)
    assert await found(scene, sweeper) == []
    await anyio.sleep(15)
    assert await found(scene, sweeper) == [(entry, "completed")]


async def test_an_invocation_without_a_location_waits_for_its_event_or_its_deadline(
    scene: Scene,
) -> None:
    (entry,) = await scene.plan(1)
    scene.ledger.accept(entry.planned, scene.now(), None, None)
    await anyio.sleep(DEADLINE_SECONDS - 1)
    assert await found(scene) == []
    await anyio.sleep(1)
    assert await found(scene) == [(entry, "expired")]
    assert scene.meter.sweep_requests == {}


async def test_the_loop_claims_what_it_finds_once(scene: Scene) -> None:
    found_by_us, claimed_by_an_event = await scene.accepted(2)
    for entry in (found_by_us, claimed_by_an_event):
        scene.bucket.objects[scene.output_of(entry)] = b"1", None
    assert scene.ledger.claim(claimed_by_an_event)
    (claimed,) = await sweep_for(scene, 400)
    assert claimed.entry is found_by_us
    assert found_by_us.claimed
    assert scene.meter.sweep_requests == {"head": 1}
    assert scene.meter.sweep_completions == 1


async def test_an_output_that_could_not_be_read_is_found_again_soon(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    scene.bucket.objects[scene.output_of(entry)] = b"1", None
    await anyio.sleep(6000)
    sweeper = make_sweeper(scene)
    assert len(await sweep_for(scene, 5, sweeper)) == 1
    entry.claimed = False
    assert await sweep_for(scene, 9, sweeper) == []
    assert len(await sweep_for(scene, 20, sweeper)) == 1


async def test_an_event_during_the_look_wins(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = await scene.accepted()
    await anyio.sleep(60)

    async def claimed_meanwhile(_location: Location) -> bool:
        assert scene.ledger.claim(entry)
        return True

    monkeypatch.setattr(scene.bucket, "exists", claimed_meanwhile)
    assert await sweep_for(scene, 30) == []
    assert scene.meter.sweep_requests == {"head": 1}


async def test_what_cannot_be_seen_does_not_expire_but_stops_the_run(scene: Scene) -> None:
    (entry,) = await scene.accepted(1)
    scene.bucket.is_visible = False
    await anyio.sleep(120)
    assert await found(scene) == []
    await anyio.sleep(DEADLINE_SECONDS)
    with pytest.raises(Denied, match="s3:GetObject"):
        await make_sweeper(scene).sweep()
    assert not entry.claimed


async def test_a_sweep_without_any_response_ends_the_run(scene: Scene) -> None:
    await scene.accepted(1)
    scene.bucket.look_faults = [Transient("down")] * 100
    await anyio.sleep(60)
    began = monotonic()
    with pytest.raises(RunStopped, match="state kept"):
        await sweep_for(scene, 1000)
    assert monotonic() - began == pytest.approx(300, abs=30)


async def test_the_first_probe_waits_for_the_events_of_the_meantime(scene: Scene) -> None:
    """An event says that the container refused a request; a probe only that it failed."""
    (entry,) = await scene.accepted()
    scene.bucket.objects[scene.failure_of(entry)] = b"no", None
    await anyio.sleep(90)  # a downtime
    claims, to_join = anyio.create_memory_object_stream[Claimed](10)
    heard = anyio.Event()
    async with claims, to_join, anyio.create_task_group() as group:
        group.start_soon(make_sweeper(scene).run, claims.clone(), heard)
        await anyio.sleep(30)
        assert scene.bucket.looks == []
        heard.set()
        assert (await to_join.receive()).entry is entry
        group.cancel_scope.cancel()


async def test_a_queue_that_is_never_drained_is_waited_for_a_minute(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    scene.bucket.objects[scene.output_of(entry)] = b"1", None
    await anyio.sleep(90)
    claims, to_join = anyio.create_memory_object_stream[Claimed](10)
    async with claims, to_join, anyio.create_task_group() as group:
        group.start_soon(make_sweeper(scene).run, claims.clone(), anyio.Event())
        began = anyio.current_time()
        assert (await to_join.receive()).entry is entry
        assert 60 <= anyio.current_time() - began <= 61
        group.cancel_scope.cancel()
