"""Failed invocations are retried as their reason allows, each as a new invocation; then dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from dispatcher.completion.event import Completion
from dispatcher.completion.joiner import Claimed
from dispatcher.flow.budget import Reservation
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.states import State
from dispatcher.retry.invocations import RetryInvocation

if TYPE_CHECKING:
    from tests.completion.scene import OpenScene, Scene

SERVER = "ClientError: Received server error (500) from model."
CLIENT = "ClientError: Received client error (400) from model."
THRICE = {"outcomes": {"model_server_error": {"attempts": 3, "backoff": "10s"}}}


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
        ("", None),  # found by a probe: nothing says whose fault it was
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
        scene.joiner.environment.rng.seed(1)
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
