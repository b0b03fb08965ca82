"""What failed is invoked anew as its reason allows, as a new invocation, and then is dead."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.completion.event import Completion
from dispatcher.completion.joiner import Again, Claimed
from dispatcher.completion.policy import again
from dispatcher.config.retrying import AgainSettings, OutcomeRetrySettings
from dispatcher.ledger.intent import Entry
from dispatcher.ledger.quota import Share
from dispatcher.ledger.settlement import Settlement
from dispatcher.ledger.states import State

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
    reason: str, attempts: int, attempt: int, backoff: float, dice: float
) -> None:
    policy = OutcomeRetrySettings(**{reason: AgainSettings(attempts=attempts, backoff=backoff)})
    wait = again(reason, attempt, policy, dice)
    assert (wait is None) == (attempt >= attempts)
    if wait is not None:
        assert wait <= min(3_600, backoff * 2 ** (attempt - 1))
        assert wait >= min(3_600, backoff * 2 ** (attempt - 1)) / 2


def test_a_reason_without_a_policy_is_final() -> None:
    assert again("output_too_large", 1, OutcomeRetrySettings(), 0.5) is None


def failed(entry: Entry, reason: str) -> Completion:
    return Completion("failed", entry.planned.id, None, reason=reason)


async def judge(scene: Scene, entry: Entry, completion: Completion) -> Settlement | Again | None:
    share = Share(scene.memory)
    try:
        return await scene.joiner.settle(Claimed(entry, completion), share)
    finally:
        share.give_back()


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
            assert isinstance(verdict, Again)
            assert 5.0 <= verdict.after <= 10.0
        else:
            assert isinstance(verdict, Settlement)
            assert [outcome.reason for outcome in verdict.outcomes] == [dead]


async def test_three_attempts_and_then_a_dead_letter_that_counts_them(
    open_scene: OpenScene,
) -> None:
    async with open_scene(retry=THRICE) as scene:
        scene.joiner.dice = random.Random(1)
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
        assert isinstance(verdict, Again)
        entry.attempt = 2
        verdict = await judge(scene, entry, Completion("expired", entry.planned.id, None))
        assert isinstance(verdict, Settlement)
        assert [(o.status, o.attempts) for o in verdict.outcomes] == [("expired", 2)]
