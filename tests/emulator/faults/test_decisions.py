"""The fault plan: what it decides, how it repeats, and that its faults leave each other alone."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, cast, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatcher.completion.event import Completion, parse
from dispatcher.config.faults import Fault, FaultSettings
from dispatcher.emulator.faults.decisions import FAULTS, FaultPlan
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.gateway.fault_types import NO_CALL_FAULT
from dispatcher.emulator.models.model import ModelResponse
from dispatcher.emulator.sagemaker.call import INVOKE
from dispatcher.emulator.sagemaker.fault_types import (
    NO_INVOCATION_FAULT,
    InvocationFault,
    Publication,
)
from dispatcher.emulator.sagemaker.invocation import read
from dispatcher.emulator.sqs.queue import MessageQueue, StoredMessage
from tests.emulator.calls import (
    events,
    invoke,
    running,
)
from tests.emulator.conftest import Connect

INVOCATION = read("emulated", {}, b"{}", serial=1, now=0.0)

ASKED = Call("sagemaker", INVOKE, "emulated", id="id-1")

PARAMETERS = {
    "slow_accept_delay",
    "duplicate_event_copies",
    "late_event_delay",
    "reordered_event_window",
}

EVENT = {
    "invocationStatus": "Completed",
    "inferenceId": "id-1",
    "responseParameters": {"outputLocation": "s3://out/emulated/output/id-1.out"},
}

LIST = ModelResponse(b"[1,2]", "application/json")

DECIDERS: dict[str, Callable[[FaultPlan], object]] = {
    "invoke": lambda plan: plan.call(ASKED),
    "s3": lambda plan: plan.call(Call("s3", "PutObject", "b/k")),
    "sqs": lambda plan: plan.call(Call("sqs", "ReceiveMessage", "q")),
    "sns": lambda plan: plan.call(Call("sns", "")),
    "entry": lambda plan: plan.entry(Call("sqs", "DeleteMessageBatch", "q", id="0")),
    "invocation": lambda plan: plan.invocation(INVOCATION),
    "output": lambda plan: plan.output(INVOCATION, LIST),
    "silences": lambda plan: plan.silences(INVOCATION),
    "publication": lambda plan: plan.publication(INVOCATION, EVENT),
    "redelivers": lambda plan: plan.redelivers(message()),
}

QUESTIONS = st.lists(st.sampled_from(sorted(DECIDERS)), max_size=60)

SHARES = st.dictionaries(st.sampled_from(FAULTS), st.sampled_from([0.0, 0.3, 0.7, 1.0]))


def message() -> StoredMessage:
    return MessageQueue().send("text", message_id="m", now=0.0)


def plan_of(shares: dict[Any, float] | None = None, seed: int = 0, **parameters: Any) -> FaultPlan:
    return FaultPlan(FaultSettings.model_validate({**(shares or {}), **parameters}), seed)


def struck_by(plan: FaultPlan, questions: Sequence[str]) -> list[set[Fault]]:
    """Return the faults that strike at each question."""
    history = []
    for question in questions:
        before = plan.struck.copy()
        DECIDERS[question](plan)
        history.append(set(plan.struck - before))
    return history


def test_every_fault_has_a_key_and_every_key_is_described() -> None:
    assert set(FaultSettings.model_fields) - set(get_args(Fault)) == PARAMETERS
    assert set(FAULTS) <= set(FaultSettings.model_fields)
    assert all(field.description for field in FaultSettings.model_fields.values())


@pytest.mark.parametrize("share", [-0.1, 1.1])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_share_is_one_of_a_whole(fault: Fault, share: float) -> None:
    with pytest.raises(ValidationError):
        FaultSettings.model_validate({fault: share})


def test_without_faults_everything_is_as_usual() -> None:
    plan = FaultPlan()
    assert not plan.armed
    assert plan.call(ASKED) is NO_CALL_FAULT
    assert plan.entry(ASKED) is None
    assert plan.invocation(INVOCATION) is NO_INVOCATION_FAULT
    assert plan.output(INVOCATION, LIST) is LIST
    assert plan.publication(INVOCATION, EVENT) == Publication((), (0.0,))
    assert not plan.silences(INVOCATION)
    assert not plan.redelivers(message())
    assert not plan.struck


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_with_all_of_the_share_strikes_each_time(
    fault: Fault,
) -> None:
    plan = plan_of({fault: 1.0})
    struck = struck_by(plan, sorted(DECIDERS))
    assert set().union(*struck) == {fault}
    assert plan.struck[fault] == (4 if fault == "expired_credentials" else 1)


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ("throttle", "ThrottlingException", {400}),
        ("server_error", "", {500, 503}),
        ("expired_credentials", "ExpiredTokenException", {403}),
    ],
)
def test_a_refused_call(fault: Fault, code: str, status: set[int]) -> None:
    plan = plan_of({fault: 1.0})
    refusals = [plan.call(ASKED).refusal for _ in range(50)]
    assert all(refusal is not None and code in refusal.code for refusal in refusals)
    assert {refusal.status for refusal in refusals if refusal} == status


def test_one_call_has_one_fault_and_may_be_slow_besides() -> None:
    plan = plan_of(dict.fromkeys(FAULTS, 1.0), slow_accept_delay=2.5)
    fault = plan.call(ASKED)
    assert fault.refusal is not None
    assert fault.reset is None
    assert fault.delay == 2.5
    assert plan.struck == {"expired_credentials": 1, "slow_accept": 1}


def test_failures_are_of_both_sides() -> None:
    for fault, silent in (("failure", False), ("failure_only", True)):
        plan = plan_of({fault: 1.0})
        faults = {plan.invocation(INVOCATION) for _ in range(50)}
        assert faults == {
            InvocationFault(model_status=status, silent=silent) for status in (400, 500)
        }


def test_publication_in_place_of_an_event() -> None:

    def published(**shares: Any) -> Publication:
        return plan_of(shares).publication(INVOCATION, EVENT)

    assert published(lost_event=1, late_event=1, duplicate_event=1).delays == ()
    assert published(duplicate_event=1, duplicate_event_copies=5).delays == (0.0,) * 6
    assert published(late_event=1, late_event_delay=9).delays == (9.0,)
    delays = published(
        duplicate_event=1, reordered_event=1, late_event=1, late_event_delay=60
    ).delays
    assert len(set(delays)) == 2
    assert all(60.5 <= delay <= 61 for delay in delays)
    (stray,) = published(foreign_event=1).strays
    (foreign,) = parse(stray)
    assert isinstance(foreign, Completion)
    assert foreign.invocation != "id-1"
    assert "id-1" not in str(foreign.location)


def test_a_lost_event_is_no_other_fault_s_success() -> None:
    plan = plan_of({"lost_event": 1.0, "late_event": 1.0, "duplicate_event": 1.0})
    plan.publication(INVOCATION, EVENT)
    assert plan.struck == {"lost_event": 1}


def test_an_answer_that_is_no_list_is_not_struck() -> None:
    plan = plan_of({"wrong_count": 1.0})
    whole = ModelResponse(b'{"a": 1}')
    assert plan.output(INVOCATION, whole) is whole
    assert not plan.struck


# Targets


def test_an_injection_strikes_chosen_subjects_up_to_its_maximum() -> None:
    plan = FaultPlan()
    with plan.inject("reset_after", times=2, when=lambda call: call.id == "id-1") as injection:
        other = Call("sagemaker", INVOKE, "emulated", id="id-2")
        assert plan.call(other) is NO_CALL_FAULT
        assert [plan.call(ASKED).reset for _ in range(3)] == ["after", "after", None]
        assert plan.call(other) is NO_CALL_FAULT
    assert injection.hits == plan.struck["reset_after"] == 2
    assert plan.call(ASKED) is NO_CALL_FAULT
    assert not plan.armed


def test_an_injection_ends_with_its_block_however_that_ends() -> None:
    plan = FaultPlan()
    with pytest.raises(KeyError), plan.inject("throttle"):
        raise KeyError
    assert not plan.armed


def test_equal_injections_end_one_by_one() -> None:
    plan = FaultPlan()
    with ExitStack() as outer:
        first = outer.enter_context(plan.inject("throttle", times=1))
        with plan.inject("throttle", times=1) as second:
            assert [plan.call(ASKED).refusal is None for _ in range(3)] == [False, False, True]
        assert (first.hits, second.hits) == (1, 1)
        assert plan.armed
    assert not plan.armed


def test_an_injection_leaves_the_share_of_chance() -> None:
    plan = plan_of({"throttle": 1.0})
    with plan.inject("throttle", times=1) as injection:
        assert plan.call(ASKED).refusal
        assert plan.call(ASKED).refusal
    assert injection.hits == 1
    assert plan.call(ASKED).refusal


def test_an_injection_that_another_fault_forestalls_waits() -> None:
    plan = FaultPlan()
    with plan.inject("reset_after", times=1) as injection:
        with plan.inject("throttle", times=1):
            assert plan.call(ASKED).refusal
        assert injection.hits == 0
        assert plan.call(ASKED).reset == "after"
    assert injection.hits == 1


def test_a_fault_that_does_not_exist_is_named_with_those_that_do() -> None:
    with (
        pytest.raises(ValueError, match=r"no fault 'lost_evnet'; there are throttle, .*lost_event"),
        FaultPlan().inject(cast("Fault", "lost_evnet")),
    ):
        pass


# Chance


@given(SHARES, QUESTIONS, st.integers(0, 3))
def test_the_same_seed_makes_the_same_choices(
    shares: dict[Any, float], questions: list[str], seed: int
) -> None:

    def decisions() -> list[object]:
        plan = plan_of(shares, seed)
        return [str(DECIDERS[question](plan)) for question in questions]

    assert decisions() == decisions()


def test_seeds_differ() -> None:
    def throttled(seed: int) -> list[bool]:
        plan = plan_of({"throttle": 0.5}, seed)
        return [plan.call(ASKED).refusal is not None for _ in range(64)]

    assert len({tuple(throttled(seed)) for seed in range(10)}) == 10


@given(SHARES, st.sampled_from(FAULTS), QUESTIONS, st.integers(0, 3))
def test_a_fault_chooses_as_if_it_were_alone(
    others: dict[Any, float],
    fault: Fault,
    questions: list[str],
    seed: int,
) -> None:
    alone = struck_by(plan_of({fault: 0.5}, seed), questions)
    among = struck_by(plan_of({**others, fault: 0.5}, seed), questions)
    for by_itself, together in zip(alone, among, strict=True):
        # Where another one came first there is nothing left to strike; else nothing changes.
        assert not (together - by_itself) & {fault}
        assert not by_itself or fault in together or together


@given(SHARES, QUESTIONS, QUESTIONS, st.sampled_from(sorted(DECIDERS)))
def test_an_injection_shifts_no_choice_of_chance(
    shares: dict[Any, float], before: list[str], after: list[str], at: str
) -> None:
    plain, aimed = plan_of(shares), plan_of(shares)
    first, _, last = (struck_by(plain, asked) for asked in (before, [at], after))
    assert struck_by(aimed, before) == first
    with ExitStack() as injections:
        for fault in FAULTS:
            injections.enter_context(aimed.inject(fault, times=1))
        assert struck_by(aimed, [at]) != [set()]
    assert struck_by(aimed, after) == last


def test_the_event_itself_is_left_as_it_is() -> None:
    plan = plan_of({"foreign_event": 1.0, "malformed_event": 1.0})
    before = orjson.dumps(EVENT)
    for _ in range(50):
        plan.publication(INVOCATION, EVENT)
    assert orjson.dumps(EVENT) == before


async def test_throttling_is_seeded(connect: Any) -> None:
    async def statuses() -> list[int]:
        async with running(faults=FaultSettings(throttle=0.5), seed=7) as emulator:
            wire = await connect(emulator.url)
            return [(await invoke(wire)).status for _ in range(40)]

    first = await statuses()
    assert await statuses() == first
    assert {202, 400} == set(first)


# Chance


async def test_chance_repeats_over_http(connect: Connect) -> None:
    faults = FaultSettings(
        throttle=0.2, failure=0.2, expiry=0.2, silent_output=0.2, lost_event=0.2, foreign_event=0.2
    )

    async def outcomes(seed: int) -> tuple[list[int], list[str], Any]:
        async with running(seed=seed, instances=1, faults=faults) as emulator:
            wire = await connect(emulator.url)
            statuses = []
            for n in range(60):
                statuses.append((await invoke(wire, Inference_Id=str(n))).status)
                await emulator.idle()
            events_seen = [event["inferenceId"] for event in await events(emulator, wire)]
            return statuses, events_seen, emulator.faults.struck

    first = await outcomes(1)
    assert await outcomes(1) == first
    assert await outcomes(2) != first
    assert set(first[2]) == faults.model_fields_set


def test_a_plan_without_faults_costs_nothing() -> None:
    plan, taken, call = FaultPlan(), read("e", {}, b"", serial=1, now=0.0), Call("sqs", "")
    answer, event = ModelResponse(b"{}"), dict[str, Any]()
    began = time.process_time()
    for _ in range(1000):
        if plan.armed:
            plan.call(call)
        plan.invocation(taken)
        plan.output(taken, answer)
        plan.silences(taken)
        plan.publication(taken, event)
    # About a microsecond an invocation, of which the emulator needs hundreds.
    assert time.process_time() - began < 0.05
