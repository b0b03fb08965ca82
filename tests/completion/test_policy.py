"""What failed is invoked anew as its reason allows, as a new invocation, and then is dead."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.completion.event import Completion
from dispatcher.completion.joiner import Claimed
from dispatcher.config.retry import InvocationRetrySettings, OutcomeRetrySettings, RetrySettings
from dispatcher.flow.budget import Reservation
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.states import State
from dispatcher.retry.outcomes import (
    DIVISIBLE,
    FLOOR,
    DeadLetter,
    Next,
    RetryInvocation,
    allowance,
    follow,
)

if TYPE_CHECKING:
    from tests.completion.conftest import OpenScene, Scene

SERVER = "ClientError: Received server error (500) from model."
CLIENT = "ClientError: Received client error (400) from model."
THRICE = {"outcomes": {"model_server_error": {"attempts": 3, "backoff": "10s"}}}


@given(
    st.sampled_from(list(OutcomeRetrySettings.model_fields)),
    st.integers(1, 20),
    st.integers(1, 200),
    st.floats(0, 1e5),
    st.floats(0, 1, exclude_max=True),
)
def test_attempts_are_as_many_as_allowed_and_waits_grow_to_an_hour(
    reason: str, attempts: int, attempt: int, backoff: float, rng: float
) -> None:
    rule = InvocationRetrySettings(attempts=attempts, backoff=backoff)
    policy = RetrySettings(outcomes=OutcomeRetrySettings(**{reason: rule}))
    after = follow(reason, tries=attempt, records=1, allowed=99, policy=policy, jitter=rng)
    assert isinstance(after, RetryInvocation) == (attempt < attempts)
    if isinstance(after, RetryInvocation):
        assert (after.reason, after.parts) == (reason, 1)
        assert after.after <= min(3_600, backoff * 2 ** (attempt - 1))
        assert after.after >= min(3_600, backoff * 2 ** (attempt - 1)) / 2


def follows(reason: str, records: int, *, allowed: int = 99, **settings: float) -> Next:
    """Return what follows where no more tries are allowed."""
    policy = RetrySettings.model_validate({"outcomes": {}, **settings})
    return follow(reason, tries=100, records=records, allowed=allowed, policy=policy, jitter=0.5)


def test_a_reason_without_a_policy_is_final() -> None:
    assert follows("output_too_large", 1) == DeadLetter()


@pytest.mark.parametrize("reason", sorted(DIVISIBLE))
def test_what_one_record_may_be_to_blame_for_is_taken_apart_in_three(reason: str) -> None:
    assert follows(reason, 1) == DeadLetter()
    parts = [follows(reason, records) for records in (2, 3, 4, 200)]
    assert parts == [RetryInvocation(reason, 0.0, n) for n in (2, 3, 3, 3)]


@pytest.mark.parametrize("reason", ["output_missing", "output_unreadable"])
def test_what_no_record_is_to_blame_for_is_not_taken_apart(reason: str) -> None:
    assert follows(reason, 200) == DeadLetter()


def test_the_same_records_are_tried_together_before_they_are_taken_apart() -> None:
    policy = RetrySettings()
    after = [
        follow("model_server_error", tries=n, records=9, allowed=9, policy=policy, jitter=0.0)
        for n in (1, 2, 3)
    ]
    assert [isinstance(a, RetryInvocation) and a.parts for a in after] == [1, 1, 3]


def test_nothing_is_taken_apart_beyond_what_is_allowed_and_the_key_is_named() -> None:
    assert isinstance(follows("model_error", 50, allowed=3), RetryInvocation)
    used_up = follows("model_error", 50, allowed=2)
    assert used_up == DeadLetter(
        "this invocation of 50 records was not split, as the share in retry.bisection, 0.1, "
        "is used up; raise it, or look at packing.framing and packing.answer if no invocation of "
        "several records completes"
    )
    assert isinstance(follows("model_error", 2, allowed=2), RetryInvocation)
    never = follows("model_error", 50, allowed=0, bisection=0)
    assert never == DeadLetter(
        "this invocation of 50 records was not split, as retry.bisection is 0"
    )


@given(st.floats(0, 2), st.integers(0, 10**7), st.integers(0, 10**7))
def test_the_allowance_is_a_share_of_the_records_and_a_floor(
    reservation: float, read: int, made: int
) -> None:
    left = allowance(reservation, read=read, made=made)
    assert left >= 0
    if reservation == 0:
        assert left == 0
    elif left:
        assert left + made == FLOOR + int(reservation * read)
    else:
        assert made >= FLOOR + int(reservation * read)


def failed(entry: Entry, reason: str) -> Completion:
    return Completion("failed", entry.planned.id, None, reason=reason)


async def judge(
    scene: Scene, entry: Entry, completion: Completion
) -> Settlement | RetryInvocation | None:
    reservation = Reservation(scene.memory)
    try:
        return await scene.joiner.settle(Claimed(entry, completion), reservation)
    finally:
        reservation.release()


@pytest.mark.parametrize(
    ("reason", "dead"),
    [
        (SERVER, None),
        ("ClientError: Received server error (0) from model.", None),
        ("", None),  # found by a look: nobody said whose fault it was
        (CLIENT, "model_error"),
    ],
)
async def test_only_the_container_says_that_a_request_is_hopeless(
    open_scene: OpenScene, reason: str, dead: str | None
) -> None:
    async with open_scene(retry=THRICE) as scene:
        (entry,) = await scene.accepted()
        verdict = await judge(scene, entry, failed(entry, reason))
        if dead is None:
            assert isinstance(verdict, RetryInvocation)
            assert 5.0 <= verdict.after <= 10.0
        else:
            assert isinstance(verdict, Settlement)
            assert [outcome.reason for outcome in verdict.outcomes] == [dead]


async def test_three_attempts_and_then_a_dead_letter_that_counts_them(
    open_scene: OpenScene,
) -> None:
    async with open_scene(retry=THRICE) as scene:
        scene.joiner.rng = random.Random(1)
        (entry,) = await scene.accepted()
        ids = {entry.planned.id}
        for attempt in (2, 3):
            give, to_join = anyio.create_memory_object_stream[Claimed](1)
            settlements, joined = anyio.create_memory_object_stream[list[Settlement]](1)
            receipts, to_delete = anyio.create_memory_object_stream[list[str]](1)
            async with give, joined, to_delete:
                assert scene.ledger.claim(entry)
                entry.acks = ["the event's"]
                give.send_nowait(Claimed(entry, failed(entry, SERVER)))
                give.close()
                await scene.joiner.run(to_join, settlements, receipts)
                assert [some async for some in joined] == []
                assert [some async for some in to_delete] == [["the event's"]]
            planned = scene.postponed[-1]
            found = scene.ledger.find(planned.number)
            assert found is not None
            entry = found
            assert (entry.attempt, entry.state) == (attempt, State.PLANNED)
            assert entry.not_before is not None
            assert scene.now() < entry.not_before <= scene.now() + 10.0 * 2 ** (attempt - 2)
            ids.add(planned.id)
        verdict = await judge(scene, entry, failed(entry, SERVER))
        assert isinstance(verdict, Settlement)
        (outcome,) = verdict.outcomes
        assert (outcome.reason, outcome.attempts, outcome.input) == (
            "model_server_error",
            3,
            b'{"n":0}',
        )
        assert len(ids) == 3
        assert scene.meter.retried == {"model_server_error": 2}
        assert scene.ledger.outstanding == 1


async def test_an_invocation_that_expired_is_tried_once_more(open_scene: OpenScene) -> None:
    async with open_scene(retry={}) as scene:
        (entry,) = await scene.accepted()
        verdict = await judge(scene, entry, Completion("expired", entry.planned.id, None))
        assert isinstance(verdict, RetryInvocation)
        entry.attempt = 2
        verdict = await judge(scene, entry, Completion("expired", entry.planned.id, None))
        assert isinstance(verdict, Settlement)
        assert [(o.status, o.attempts) for o in verdict.outcomes] == [("expired", 2)]
