"""A failed invocation of several records is split until the bad ones are alone."""

from __future__ import annotations

import sys
from functools import cache
from itertools import pairwise
from math import log2
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import failpoints
from dispatcher.completion.event import Completion
from dispatcher.completion.joiner import Claimed
from dispatcher.config.retry import RetrySettings
from dispatcher.errors import StateError
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.ledger.replacement import SPLIT, part_bounds
from dispatcher.reasons import Reason
from dispatcher.retry.invocations import RetryInvocation, SplitBudget, after_failed_invocation

if TYPE_CHECKING:
    from tests.completion.scene import OpenScene, Scene

PACKED = {"framing": "lines", "max_records": 1_000}
ONCE = {"model_server_error": {"attempts": 1}, "expired": {"attempts": 1}}
CLIENT = "ClientError: Received client error (400) from model."


# The cost


@cache
def parts_of(records: int) -> list[int]:
    """Return how many records the parts of a failed invocation have; none for a single one."""
    after = after_failed_invocation(
        Reason.MODEL_ERROR,
        tries=1,
        records=records,
        budget=SplitBudget(1.0),
        retry=RetrySettings(),
        jitter=0.0,
    )
    if not isinstance(after, RetryInvocation):
        return []
    return [end - start for start, end in pairwise(part_bounds(records, after.parts))]


def cost(records: int, bad: set[int]) -> int:
    """Return how many extra invocations it takes to find the bad records, by their places."""
    if not bad or records == 1:
        return 0
    parts, start = parts_of(records), 0
    extra = len(parts)
    for part in parts:
        extra += cost(part, {place - start for place in bad if start <= place < start + part})
        start += part
    return extra


def test_one_bad_record_of_200_costs_less_than_the_bound_wherever_it_is() -> None:
    costs = [cost(200, {place}) for place in range(200)]
    assert max(costs) == 15 < 2 * log2(200)


def test_of_any_number_up_to_1000_the_mean_is_below_the_bound_and_the_worst_near_it() -> None:
    over = {}
    for records in range(2, 1_001):
        costs = [cost(records, {place}) for place in range(0, records, 1 + records // 100)]
        every = costs if records > 100 else [cost(records, {n}) for n in range(records)]
        assert sum(every) / len(every) <= 2 * log2(records)
        if max(costs) > 2 * log2(records):
            over[records] = max(costs) - 2 * log2(records)
    worst = max(over, key=lambda n: over[n])
    sys.stdout.write(
        f"{len(over)} of 999 sizes have a place that costs more than 2 log2(n), {worst} records "
        f"the most: {over[worst]:.2f}\n"
    )
    assert over[worst] < 1.5


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_several_bad_records_cost_no_more_than_each_alone(case: tuple[int, set[int]]) -> None:
    records, bad = case
    together = cost(records, bad)
    assert together <= sum(cost(records, {place}) for place in bad)
    assert together <= 2 * records, "every node of the tree is invoked once"


# The joiner


async def fail(
    scene: Scene, entry: Entry, completion: Completion, *acks: str
) -> tuple[list[Outcome], list[Entry], list[list[str]]]:
    """Let an invocation fail; return outcomes, what was planned in its place, and receipts."""
    give, to_join = anyio.create_memory_object_stream[Claimed](1)
    settlements, joined = anyio.create_memory_object_stream[list[Settlement]](10)
    receipts, to_delete = anyio.create_memory_object_stream[list[str]](10)
    before = len(scene.postponed)
    async with give, joined, to_delete:
        assert scene.ledger.claim(entry)
        entry.acks = list(acks) or None
        give.send_nowait(Claimed(entry, completion))
        give.close()
        await scene.joiner.run(to_join, settlements, receipts)
        settled = [settlement async for group in joined for settlement in group]
        acknowledged = [group async for group in to_delete]
    await scene.ledger.settle(settled, {})
    for settlement in settled:
        assert settlement.reservation is not None
        settlement.reservation.release()
    assert scene.memory.free == scene.memory.capacity
    planned = [scene.ledger.find(new.number) for new in scene.postponed[before:]]
    return [o for s in settled for o in s.outcomes], [e for e in planned if e], acknowledged


def refused(entry: Entry, body: bytes = b"no") -> Completion:
    return Completion("failed", entry.planned.id, None, body=body, reason=CLIENT)


async def test_the_parts_are_new_invocations_of_all_records_in_order(
    open_scene: OpenScene,
) -> None:
    async with open_scene(packing=PACKED) as scene:
        (entry,) = await scene.plan(200)
        outcomes, parts, receipts = await fail(scene, entry, refused(entry), "the event's")
        assert outcomes == []
        assert receipts == [["the event's"]]
        assert [len(part.record_refs) for part in parts] == [66, 67, 67]
        assert [record_ref.key for part in parts for record_ref in part.record_refs] == [
            record_ref.key for record_ref in entry.record_refs
        ]
        assert [(part.attempt, part.tries, part.not_before) for part in parts] == [
            (2, 1, scene.now())
        ] * 3
        assert len({entry.planned.id, *(part.planned.id for part in parts)}) == 4
        raws = [b'{"n":%d}' % n for n in range(200)]
        assert [raw for part in parts for raw in await scene.ledger.raws(part)] == raws
        assert await scene.ledger.payload(parts[2]) == b"\n".join(raws[133:])
        assert scene.ledger.find_id(entry.planned.id) == (True, None)
        assert (scene.meter.split, scene.meter.parts, scene.meter.retried.total()) == (1, 3, 0)


async def test_a_record_that_is_alone_at_last_is_dead_for_its_own_reason(
    open_scene: OpenScene,
) -> None:
    bad = {"key-7": b"seven is odd", "key-13": b"thirteen is worse"}
    async with open_scene(packing=PACKED, retry={"outcomes": ONCE}) as scene:
        waiting = await scene.plan(20)
        dead: dict[object, Outcome] = {}
        fine: list[object] = []
        made = 0
        while waiting:
            entry = waiting.pop(0)
            guilty = [record_ref.key for record_ref in entry.record_refs if record_ref.key in bad]
            if not guilty:
                fine += [record_ref.key for record_ref in entry.record_refs]
                await scene.settle(entry)
                continue
            error = bad[str(guilty[0])]
            outcomes, parts, _ = await fail(scene, entry, refused(entry, error))
            dead |= {outcome.key: outcome for outcome in outcomes}
            waiting += parts
            made += len(parts)
        assert dead.keys() == bad.keys()
        assert len(fine) == 18
        for key, outcome in dead.items():
            assert (outcome.status, outcome.reason) == ("failed", "model_error")
            assert outcome.message == f"{CLIENT}; {bad[str(key)].decode()}"
            assert outcome.input == b'{"n":%s}' % str(key).removeprefix("key-").encode()
            assert 4 <= outcome.attempts <= 5
        assert scene.meter.parts == made <= cost(20, {7, 13})
        splits = scene.meter.split
        assert scene.ledger.outstanding == 0
    async with open_scene(packing=PACKED) as scene:
        assert scene.ledger.tallies["parts"] == made
        assert scene.ledger.tallies[SPLIT] == splits
        assert scene.ledger.tallies["dead:model_error"] == 2


async def test_each_part_has_tries_of_its_own(open_scene: OpenScene) -> None:
    twice = {"model_error": {"attempts": 2, "backoff": "1s"}}
    async with open_scene(packing=PACKED, retry={"outcomes": twice}) as scene:
        (entry,) = await scene.plan(2)
        (again,) = (await fail(scene, entry, refused(entry)))[1]
        assert (again.attempt, again.tries, len(again.record_refs)) == (2, 2, 2)
        parts = (await fail(scene, again, refused(again)))[1]
        assert [(part.attempt, part.tries) for part in parts] == [(3, 1), (3, 1)]
        (last,) = (await fail(scene, parts[0], refused(parts[0])))[1]
        assert (last.attempt, last.tries) == (4, 2)
        outcomes, parts, _ = await fail(scene, last, refused(last))
        assert parts == []
        assert [(o.key, o.attempts) for o in outcomes] == [("key-0", 4)]
        assert scene.meter.retried == {"model_error": 2}


@pytest.mark.parametrize("share", [0, 0.5])
async def test_beyond_the_budget_all_are_dead_and_the_message_names_its_key(
    open_scene: OpenScene, share: float
) -> None:
    async with open_scene(packing=PACKED, retry={"bisection": share}) as scene:
        scene.split_budget.read, scene.split_budget.made = 10, 1_003
        (entry,) = await scene.plan(10)
        outcomes, parts, _ = await fail(scene, entry, refused(entry))
        assert parts == []
        assert {(o.reason, o.attempts) for o in outcomes} == {("model_error", 1)}
        for outcome in outcomes:
            assert outcome.message.startswith(f"{CLIENT}; no; this invocation of 10 records was ")
            assert "not split" in outcome.message
            assert "retry.bisection" in outcome.message


async def test_many_loops_together_keep_to_the_budget(open_scene: OpenScene) -> None:
    async with open_scene(packing=PACKED, retry={"bisection": 1}) as scene:
        entries = await scene.plan(*[5] * 8)
        scene.split_budget.read, scene.split_budget.made = 40, 1_000 + 40 - 7
        give, to_join = anyio.create_memory_object_stream[Claimed](10)
        settlements, joined = anyio.create_memory_object_stream[list[Settlement]](10)
        receipts, to_delete = anyio.create_memory_object_stream[list[str]](10)
        async with give, joined, to_delete, anyio.create_task_group() as group:
            for _ in range(8):
                streams = (to_join.clone(), settlements.clone(), receipts.clone())
                group.start_soon(scene.joiner.run, *streams)
            for stream in (to_join, settlements, receipts):
                stream.close()
            for entry in entries:
                assert scene.ledger.claim(entry)
                give.send_nowait(Claimed(entry, refused(entry)))
            give.close()
            settled = [settlement async for group in joined for settlement in group]
        assert len(scene.postponed) == 6
        assert len(settled) == 6
        assert scene.split_budget.made == 1_000 + 40 - 1
        for settlement in settled:
            assert settlement.reservation is not None
            settlement.reservation.release()


async def test_a_wrong_count_and_an_expiry_are_split_too(open_scene: OpenScene) -> None:
    async with open_scene(packing=PACKED, retry={"outcomes": ONCE}) as scene:
        short, late = await scene.plan(4, 4)
        completion = Completion(
            "completed",
            short.planned.id,
            None,
            body=b"1\n2\n3",
            content_type="application/jsonlines",
        )
        assert len((await fail(scene, short, completion))[1]) == 3
        expired = Completion("expired", late.planned.id, None)
        assert len((await fail(scene, late, expired))[1]) == 3


async def test_a_moment_to_die_is_after_the_commit(
    open_scene: OpenScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    async with open_scene(packing=PACKED) as scene:
        monkeypatch.setattr(
            failpoints, "hooks", [lambda name: seen.append((name, scene.ledger.outstanding))]
        )
        (entry,) = await scene.plan(7)
        await fail(scene, entry, refused(entry))
    assert ("completion.split", 3) in seen
    names = [name for name, _ in seen]
    assert names.index("completion.split") > names.index("ledger.committed")


async def test_what_could_not_be_committed_is_not_acknowledged(
    open_scene: OpenScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StateError("the disk is full")

    async with open_scene(packing=PACKED) as scene:
        (entry,) = await scene.plan(7)
        with monkeypatch.context() as patch:
            patch.setattr(scene.ledger._store, "apply", full)
            with pytest.raises(StateError, match="the disk is full"):
                await fail(scene, entry, refused(entry), "the event's")
        assert scene.postponed == []
    async with open_scene(packing=PACKED) as scene:
        assert [len(planned.record_refs) for planned in scene.ledger.planned()] == [7]
