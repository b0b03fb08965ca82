"""The sender under every response of the service, on virtual time and a real ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from dispatcher.aws.requests import InvokeRequest
from dispatcher.errors import (
    CallError,
    Denied,
    OutcomeUnknown,
    Rejected,
    RunStopped,
    StateError,
    Throttled,
    Transient,
)
from dispatcher.flow.budget import MemoryBudget
from dispatcher.ledger.states import State
from dispatcher.observe.events import CallFinished, Event
from dispatcher.packing.large_payload import digest_of_payload
from dispatcher.retry.outage_timer import TroubleBegan, TroubleEnded

if TYPE_CHECKING:
    from tests.dispatch.scene import OpenScene, Scene

UNKNOWN = OutcomeUnknown("no answer", code="NoAnswer")


async def test_an_accepted_call_carries_everything_that_was_chosen(open_scene: OpenScene) -> None:
    request = {"accept": "text/csv", "custom_attributes": "a=b", "ttl": "2m", "timeout": "30s"}
    async with open_scene(request=request) as scene:
        (planned,) = await scene.plan()
        assert await scene.send([planned]) == []
        assert scene.service.requests == [
            InvokeRequest(
                endpoint="churn",
                inference_id=planned.id,
                content_type="application/json",
                output_extension=planned.shard,
                filename=f"{planned.id}.out",
                body=b'{"n":0}',
                input_location=None,
                accept="text/csv",
                custom_attributes="a=b",
                ttl=120,
                timeout=30,
            )
        ]
        entry = scene.entry(planned)
        assert entry.state is State.ACCEPTED
        assert entry.output == scene.output_of(planned)
        assert entry.failure == f"s3://out/failures/{planned.shard}/{planned.id}.out"
        assert scene.meter.calls == {"accepted": 1}
        assert (scene.state.on_wire, scene.meter.repeated) == (0, 0)
        assert scene.bucket.looks == []


@pytest.mark.parametrize(
    ("error", "counter"), [(Throttled("slow"), "throttled"), (Transient("503"), "transient")]
)
async def test_what_was_not_accepted_is_sent_again_after_a_pause(
    scene: Scene, error: CallError, counter: str
) -> None:
    scene.service.script = [error, error, None]
    (planned,) = await scene.plan()
    began = anyio.current_time()
    assert await scene.send([planned]) == []
    assert len(scene.service.requests) == 3
    assert scene.service.requests == scene.service.requests[:1] * 3
    assert 0.01 + 0.02 <= anyio.current_time() - began <= 0.1 + 0.2
    assert scene.meter.calls == {counter: 2, "accepted": 1}
    assert (scene.bucket.looks, scene.meter.repeated) == ([], 0)


async def test_an_unanswered_call_whose_output_is_there_is_not_repeated(scene: Scene) -> None:
    first, planned = await scene.plan(2)
    await scene.send([first])  # shows where outputs go
    scene.bucket.objects[scene.output_of(planned)] = b"1", "text/plain"
    scene.service.script = [UNKNOWN]
    assert await scene.send([planned]) == []
    assert [r.inference_id for r in scene.service.requests] == [first.id, planned.id]
    entry = scene.entry(planned)
    assert (entry.state, entry.output) == (State.ACCEPTED, scene.output_of(planned))
    assert entry.accepted_at == entry.planned_at
    assert scene.meter.repeated == 0
    assert scene.meter.calls == {"accepted": 1, "unknown": 1}


async def test_an_unanswered_call_without_a_trace_is_repeated_as_it_was(scene: Scene) -> None:
    first, planned = await scene.plan(2)
    await scene.send([first])
    scene.service.script = [UNKNOWN, UNKNOWN, None]
    assert await scene.send([planned]) == []
    assert len(scene.service.requests) == 4
    assert scene.service.requests[1:] == scene.service.requests[1:2] * 3
    assert scene.bucket.looks == [scene.output_of(planned)] * 2
    assert scene.meter.repeated == 1, "one invocation, however often it was repeated"


async def test_doubt_outlives_a_throttled_repeat(scene: Scene) -> None:
    first, planned = await scene.plan(2)
    await scene.send([first])

    async def throttled_while_the_first_call_completes(_request: InvokeRequest) -> None:
        scene.bucket.objects[scene.output_of(planned)] = b"1", "text/plain"
        raise Throttled("slow")

    scene.service.script = [UNKNOWN, throttled_while_the_first_call_completes]
    assert await scene.send([planned]) == []
    assert len(scene.service.requests) == 3
    assert scene.entry(planned).state is State.ACCEPTED
    assert scene.meter.repeated == 1


async def test_the_last_unanswered_call_is_looked_for_before_it_is_given_up(
    open_scene: OpenScene,
) -> None:
    async with open_scene(retry={"attempts": 1}) as scene:
        first, planned, other = await scene.plan(3)
        await scene.send([first])
        scene.bucket.objects[scene.output_of(planned)] = b"1", "text/plain"

        async def lost_while_another_succeeds(_request: InvokeRequest) -> None:
            await anyio.sleep(1)
            scene.state.succeeded_at = anyio.current_time() + 1
            raise UNKNOWN

        scene.service.script = [lost_while_another_succeeds] * 2
        assert await scene.send([planned]) == []
        assert scene.entry(planned).state is State.ACCEPTED
        (given_up,) = await scene.send([other])
        assert given_up.outcomes[0].reason == "call_unknown"
        assert scene.bucket.looks == [scene.output_of(planned), scene.output_of(other)]


async def test_an_earlier_unanswered_call_is_looked_for_before_a_record_is_given_up(
    open_scene: OpenScene,
) -> None:
    async with open_scene(retry={"attempts": 2}) as scene:
        first, planned = await scene.plan(2)
        await scene.send([first])

        async def fails_when_the_first_call_completes(_request: InvokeRequest) -> None:
            scene.bucket.objects[scene.output_of(planned)] = b"1", "text/plain"
            scene.state.succeeded_at = anyio.current_time() + 1
            raise Transient("500")

        scene.service.script = [UNKNOWN, fails_when_the_first_call_completes]
        assert await scene.send([planned]) == []
        assert scene.entry(planned).state is State.ACCEPTED


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_look_that_fails_is_repeated_before_the_call_is(
    scene: Scene, is_there: bool
) -> None:
    first, planned = await scene.plan(2)
    await scene.send([first])
    scene.service.script = [UNKNOWN]
    scene.bucket.look_faults = [Transient("503")] * 4
    if is_there:
        scene.bucket.objects[scene.output_of(planned)] = b"1", "text/plain"
    assert await scene.send([planned]) == []
    assert len(scene.bucket.looks) == 5
    assert len(scene.service.requests) == (2 if is_there else 3)
    assert scene.entry(planned).state is State.ACCEPTED


async def test_a_look_that_s3_never_answers_stops_the_run(scene: Scene) -> None:
    first, planned = await scene.plan(2)
    await scene.send([first])
    scene.service.script = [UNKNOWN]
    scene.bucket.look_faults = [Transient("503")] * 1_000
    began = anyio.current_time()
    with pytest.raises(RunStopped, match="could not be looked up in 5 minutes"):
        await scene.send([planned])
    assert 300 <= anyio.current_time() - began <= 340
    assert len(scene.service.requests) == 2


async def test_before_the_first_response_there_is_no_place_to_look(scene: Scene) -> None:
    scene.service.script = [UNKNOWN]
    (planned,) = await scene.plan()
    assert await scene.send([planned]) == []
    assert len(scene.service.requests) == 2
    assert (scene.bucket.looks, scene.meter.repeated) == ([], 1)


@pytest.mark.parametrize("found", [True, False])
async def test_an_invocation_of_an_earlier_process_is_looked_for_first(
    scene: Scene, found: bool
) -> None:
    first, planned = await scene.plan(2)
    await scene.send([first])
    if found:
        scene.bucket.objects[scene.output_of(planned)] = b"1", "text/plain"
    assert await scene.send([replace(planned, may_have_been_sent=True)]) == []
    assert len(scene.service.requests) == (1 if found else 2)
    assert scene.meter.repeated == (0 if found else 1)
    assert scene.entry(planned).state is State.ACCEPTED


async def test_a_rejected_request_becomes_a_dead_letter_with_its_input(scene: Scene) -> None:
    scene.service.script = [Throttled("slow"), Rejected("ValidationError: no", code="X"), None]
    bad, good = await scene.plan(2)
    (given_up,) = await scene.send([bad, good])
    entry = scene.entry(bad)
    assert given_up.entry is entry
    assert entry.claimed
    (outcome,) = given_up.outcomes
    assert (outcome.status, outcome.reason) == ("rejected", "call_rejected")
    assert (outcome.key, outcome.input, outcome.attempts) == ("key-0", b'{"n":0}', 1)
    assert outcome.message == "ValidationError: no; the last of 2 calls"
    assert outcome.position == entry.record_refs[0].position
    assert scene.entry(good).state is State.ACCEPTED
    assert scene.meter.calls == {"throttled": 1, "rejected": 1, "accepted": 1}


async def test_a_record_that_fails_while_others_succeed_is_given_up(scene: Scene) -> None:
    async def fails_while_others_succeed(_request: InvokeRequest) -> None:
        scene.state.succeeded_at = anyio.current_time() + 0.001
        raise Transient("500")

    (planned,) = await scene.plan()
    scene.service.script = [fails_while_others_succeed] * 20
    (given_up,) = await scene.send([planned])
    assert len(scene.service.requests) == scene.config.retry.attempts
    assert given_up.outcomes[0].reason == "call_transient"
    assert given_up.outcomes[0].attempts == 1
    assert given_up.outcomes[0].message == "500; the last of 8 calls"


async def test_denied_stops_at_once(scene: Scene) -> None:
    scene.service.script = [Denied("no such endpoint")]
    planned, other = await scene.plan(2)
    with pytest.raises(Denied, match="no such endpoint"):
        await scene.send([planned, other])
    assert len(scene.service.requests) == 1
    assert (scene.meter.calls, scene.state.on_wire) == ({"denied": 1}, 0)
    assert scene.ledger.outstanding == 2


async def test_a_completion_that_overtakes_the_response_wins(scene: Scene) -> None:
    async def completes_first(_request: InvokeRequest) -> None:
        await scene.settle(planned.number)

    scene.service.script = [completes_first]
    (planned,) = await scene.plan()
    assert await scene.send([planned]) == []
    assert scene.ledger.outstanding == 0
    assert scene.meter.calls == {"accepted": 1}


@pytest.mark.parametrize("error", [UNKNOWN, Rejected("no"), Throttled("slow")])
async def test_what_completed_during_a_failed_call_is_neither_repeated_nor_dead(
    scene: Scene, error: CallError
) -> None:
    async def completes_and_fails(_request: InvokeRequest) -> None:
        assert scene.ledger.claim(scene.entry(planned))
        raise error

    scene.service.script = [completes_and_fails]
    (planned,) = await scene.plan()
    assert await scene.send([planned]) == []
    assert len(scene.service.requests) == 1


async def test_what_was_accepted_by_other_evidence_is_not_sent(scene: Scene) -> None:
    (planned,) = await scene.plan()
    scene.ledger.accept(planned, 1.0, None, None)
    assert await scene.send([planned]) == []
    assert scene.service.requests == []


@pytest.mark.parametrize("error", [Throttled("slow"), Transient("503"), UNKNOWN])
async def test_an_outage_stops_the_run_with_everything_kept(scene: Scene, error: CallError) -> None:
    scene.service.always = error
    intents = await scene.plan(3)
    began = anyio.current_time()
    with pytest.raises(BaseExceptionGroup) as stopped:
        await scene.send(intents, loops=3)
    stop = stopped.value.exceptions[0]
    assert isinstance(stop, RunStopped)
    assert f"5 minutes; the last error: {error}" in str(stop)
    assert 300 <= anyio.current_time() - began <= 320
    assert scene.ledger.outstanding == 3
    assert scene.state.on_wire == 0


async def test_an_outage_shorter_than_that_is_waited_out(scene: Scene) -> None:
    async def down(_request: InvokeRequest) -> None:
        if anyio.current_time() - began < 290:
            raise Transient("503")

    began = anyio.current_time()
    intents = await scene.plan(3)
    scene.service.script = [down] * 1000
    assert await scene.send(intents, loops=3) == []
    assert 290 <= anyio.current_time() - began <= 310
    assert all(entry.state is State.ACCEPTED for entry in map(scene.entry, intents))


async def test_silence_without_a_call_is_no_outage(scene: Scene) -> None:
    await anyio.sleep(10_000)
    scene.service.script = [Transient("503"), None]
    (planned,) = await scene.plan()
    assert await scene.send([planned]) == []
    assert scene.entry(planned).state is State.ACCEPTED


async def test_a_large_payload_is_put_once_before_the_call_that_names_it(scene: Scene) -> None:
    (planned,) = await scene.plan(route="s3")
    digest = digest_of_payload(b'{"n":0}', "json", "application/json")
    location = f"s3://inputs/staged/{digest[:2]}/{scene.ledger.tag}/{digest}"

    async def is_there(request: InvokeRequest) -> None:
        assert request.input_location == location
        assert scene.bucket.objects == {location: (b'{"n":0}', "application/json")}
        raise Throttled("slow")

    scene.service.script = [is_there, is_there, None]
    assert await scene.send([planned]) == []
    assert [r.body for r in scene.service.requests] == [None] * 3
    assert scene.bucket.puts == 1
    assert scene.entry(planned).state is State.ACCEPTED


async def test_a_put_that_fails_is_repeated_before_anything_is_called(scene: Scene) -> None:
    scene.bucket.put_faults = [Throttled("slow"), Transient("503")]
    (planned,) = await scene.plan(route="s3")
    assert await scene.send([planned]) == []
    assert (scene.bucket.puts, len(scene.service.requests)) == (3, 1)


async def test_a_put_that_is_refused_gives_the_record_up(scene: Scene) -> None:
    scene.bucket.put_faults = [Rejected("EntityTooLarge")]
    (planned,) = await scene.plan(route="s3")
    (given_up,) = await scene.send([planned])
    assert given_up.outcomes[0].reason == "call_rejected"
    assert scene.service.requests == []


async def test_a_payload_that_cannot_be_read_stops_the_run(scene: Scene) -> None:
    (planned,) = await scene.plan()
    scene.entry(planned).payload = None
    scene.ledger._payloads._fresh.clear()
    with pytest.raises(StateError, match=f"payload of invocation {planned.id}"):
        await scene.send([planned])
    assert scene.service.requests == []


async def test_what_completes_while_its_sender_waits_for_memory_is_not_sent(scene: Scene) -> None:
    scene.memory = scene.sender.memory = MemoryBudget(10)
    (planned,) = await scene.plan()
    async with anyio.create_task_group() as group, scene.memory.reserve(10):
        group.start_soon(scene.send, [planned])
        await anyio.sleep(1)
        await scene.settle(planned.number)
    assert scene.service.requests == []
    assert scene.memory.free == 10


@pytest.mark.parametrize(("loops", "max_on_wire"), [(1, 1), (7, 7), (64, 40)])
async def test_concurrency_is_the_number_of_loops(
    scene: Scene, loops: int, max_on_wire: int
) -> None:
    scene.service.seconds = 0.05
    intents = await scene.plan(40)
    assert await scene.send(intents, loops=loops) == []
    assert scene.service.max_on_wire == max_on_wire
    assert scene.state.on_wire == 0
    assert [r.inference_id for r in scene.service.requests] == [p.id for p in intents]


async def test_memory_is_given_back_whatever_happens(scene: Scene) -> None:
    scene.service.script = [Throttled("slow"), UNKNOWN, Rejected("no"), None]
    await scene.send(await scene.plan(3))
    assert scene.memory.free == scene.memory.capacity


async def test_a_look_up_that_fails_rarely_and_always_stops_the_run_in_time(
    open_scene: OpenScene,
) -> None:
    """The longest backoff is longer than half the time after which the run stops."""
    async with open_scene(retry={"give_up_after": "30s", "base": "20s", "cap": "20s"}) as scene:
        first, planned = await scene.plan(2)
        await scene.send([first])
        scene.service.script = [UNKNOWN]
        scene.bucket.look_faults = [Transient("503")] * 1_000
        began = anyio.current_time()
        with pytest.raises(RunStopped, match="could not be looked up"):
            await scene.send([planned])
        assert 30 <= anyio.current_time() - began <= 80


async def test_trouble_with_calls_is_reported_when_it_begins_and_when_it_ends(
    scene: Scene,
) -> None:
    events: list[Event] = []
    scene.sender.observe = events.append
    scene.service.script = [Throttled("slow down"), Transient("503")]
    await scene.send(await scene.plan())
    assert [type(event) for event in events] == [
        CallFinished,
        TroubleBegan,
        CallFinished,
        CallFinished,
        TroubleEnded,
    ]
