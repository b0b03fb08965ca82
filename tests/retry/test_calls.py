"""The decision after a failed call, for every kind of error and every history."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.retry import RetrySettings
from dispatcher.errors import (
    CallError,
    NotThere,
    OutcomeUnknown,
    Rejected,
    ServiceFailed,
    Throttled,
    Transient,
)
from dispatcher.retry.calls import FailedCall, GiveUp, RetryCall, Stop, after_failed_call

POLICY = RetrySettings(attempts=3, base=1.0, cap=8.0, give_up_after=60.0)


def attempt(
    failures: int = 1,
    *,
    pauses: int | None = None,
    silence: float = 0.0,
    others: bool = False,
    again: bool = False,
    jitter: float = 0.0,
) -> FailedCall:
    paused = failures if pauses is None else pauses
    return FailedCall(
        failures=failures,
        pauses=paused,
        silence=silence,
        others_succeed=others,
        failed_before=again,
        jitter=jitter,
    )


@pytest.mark.parametrize(
    ("error", "history", "decision"),
    [
        (Throttled("t"), attempt(0, pauses=1), RetryCall(0.1, look_first=False)),
        (Transient("t"), attempt(), RetryCall(0.1, look_first=False)),
        (OutcomeUnknown("u"), attempt(), RetryCall(0.1, look_first=True)),
        (Transient("t"), attempt(2), RetryCall(0.2, look_first=False)),
        (Transient("t"), attempt(0, pauses=40), RetryCall(0.8, look_first=False)),
        (Transient("t"), attempt(2, others=True), RetryCall(0.2, look_first=False)),
        (Transient("t"), attempt(3, others=True), GiveUp(look_first=False)),
        (OutcomeUnknown("u"), attempt(3, others=True), GiveUp(look_first=True)),
        (Transient("t"), attempt(3, others=False), RetryCall(0.4, look_first=False)),
        (Throttled("t"), attempt(0, pauses=99, others=True), RetryCall(0.8, look_first=False)),
        (Throttled("t"), attempt(9, others=True), RetryCall(0.8, look_first=False)),
        (Transient("t"), attempt(silence=59.9), RetryCall(0.1, look_first=False)),
        (Transient("t"), attempt(silence=60.0), Stop()),
        (Throttled("t"), attempt(0, pauses=9, silence=60.0), Stop()),
        (OutcomeUnknown("u"), attempt(3, silence=60.0), Stop()),
        (ServiceFailed("5"), attempt(9, silence=60.0), Stop()),
        (ServiceFailed("5"), attempt(9, silence=60.0, again=True), GiveUp(look_first=False)),
        (Transient("t"), attempt(9, silence=60.0, again=True), Stop()),
        (OutcomeUnknown("u"), attempt(9, silence=60.0, again=True), Stop()),
        (Rejected("r"), attempt(), GiveUp(look_first=False)),
        (Rejected("r"), attempt(silence=1000.0), GiveUp(look_first=False)),
        (NotThere("n"), attempt(), GiveUp(look_first=False)),
    ],
)
def test_decisions(error: CallError, history: FailedCall, decision: object) -> None:
    assert after_failed_call(error, history, POLICY) == decision


errors = st.sampled_from([Throttled("t"), Transient("t"), OutcomeUnknown("u"), Rejected("r")])
policies = st.builds(
    RetrySettings,
    attempts=st.integers(1, 20),
    base=st.floats(0.001, 100),
    cap=st.floats(0.001, 100),
    give_up_after=st.floats(0.1, 1000),
)
attempts = st.integers(1, 5000).flatmap(
    lambda pauses: st.builds(
        FailedCall,
        failures=st.integers(0, pauses),
        pauses=st.just(pauses),
        silence=st.floats(0, 2000),
        others_succeed=st.booleans(),
        failed_before=st.booleans(),
        jitter=st.floats(0, 1, exclude_max=True),
    )
)


@given(error=errors, history=attempts, policy=policies)
def test_the_laws_of_repetition(
    error: CallError, history: FailedCall, policy: RetrySettings
) -> None:
    decision = after_failed_call(error, history, policy)
    if isinstance(error, Rejected):
        assert decision == GiveUp(look_first=False)
    elif history.silence >= policy.give_up_after:
        assert decision == Stop()
    elif isinstance(decision, GiveUp):
        assert history.others_succeed
        assert history.failures >= policy.attempts
        assert not isinstance(error, Throttled)
        assert decision.look_first == isinstance(error, OutcomeUnknown)
    else:
        assert isinstance(decision, RetryCall)
        assert 0 < decision.after <= policy.cap
        assert decision.look_first == isinstance(error, OutcomeUnknown)


@given(history=attempts, policy=policies)
def test_jitter_spreads_over_nine_tenths_of_a_doubling_ceiling(
    history: FailedCall, policy: RetrySettings
) -> None:
    def pause(jitter: float) -> float:
        made = replace(history, failures=0, silence=0.0, others_succeed=False, jitter=jitter)
        decision = after_failed_call(Transient("t"), made, policy)
        assert isinstance(decision, RetryCall)
        return decision.after

    ceiling = min(policy.cap, policy.base * 2.0 ** min(history.pauses - 1, 60))
    assert pause(0.0) == pytest.approx(ceiling / 10)
    assert pause(1.0) == pytest.approx(ceiling)
    assert pause(history.jitter) <= ceiling * (1 + 1e-9)
