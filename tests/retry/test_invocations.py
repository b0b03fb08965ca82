"""The decision after a failed invocation: retries by reason, then a split, then dead letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.retry import InvocationRetrySettings, OutcomeRetrySettings, RetrySettings
from dispatcher.reasons import Reason
from dispatcher.retry.invocations import (
    FREE_PARTS,
    DeadLetter,
    Next,
    RetryInvocation,
    SplitBudget,
    after_failed_invocation,
)

NOTHING_SET = {reason: {"attempts": 1} for reason in OutcomeRetrySettings.model_fields}


def decide(
    reason: Reason,
    *,
    tries: int,
    records: int,
    left: int,
    retry: RetrySettings,
    jitter: float = 0.5,
) -> Next:
    """Return the decision while ``left`` more invocations may be made of parts."""
    budget = SplitBudget(retry.bisection, read=0, made=FREE_PARTS - left)
    return after_failed_invocation(
        reason, tries=tries, records=records, budget=budget, retry=retry, jitter=jitter
    )


@given(
    st.sampled_from([Reason(name) for name in OutcomeRetrySettings.model_fields]),
    st.integers(1, 20),
    st.integers(1, 200),
    st.floats(0, 1e5),
    st.floats(0, 1, exclude_max=True),
)
def test_attempts_are_as_many_as_allowed_and_waits_grow_to_an_hour(
    reason: Reason, attempts: int, attempt: int, backoff: float, jitter: float
) -> None:
    rule = InvocationRetrySettings(attempts=attempts, backoff=backoff)
    retry = RetrySettings(outcomes=OutcomeRetrySettings(**{str(reason): rule}))
    after = decide(reason, tries=attempt, records=1, left=99, retry=retry, jitter=jitter)
    assert isinstance(after, RetryInvocation) == (attempt < attempts)
    if isinstance(after, RetryInvocation):
        assert (after.reason, after.parts) == (reason, 1)
        assert after.after <= min(3_600, backoff * 2 ** (attempt - 1))
        assert after.after >= min(3_600, backoff * 2 ** (attempt - 1)) / 2


def follows(reason: Reason, records: int, *, left: int = 99, **settings: float) -> Next:
    """Return what follows where no more tries are allowed."""
    retry = RetrySettings.model_validate({"outcomes": {}, **settings})
    return decide(reason, tries=100, records=records, left=left, retry=retry)


def test_a_reason_without_a_rule_is_final() -> None:
    assert follows(Reason.OUTPUT_TOO_LARGE, 1) == DeadLetter()


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.can_split])
def test_an_invocation_that_one_record_can_fail_is_split_in_three(reason: Reason) -> None:
    assert follows(reason, 1) == DeadLetter()
    parts = [follows(reason, records) for records in (2, 3, 4, 200)]
    assert parts == [RetryInvocation(reason, 0.0, n) for n in (2, 3, 3, 3)]


@pytest.mark.parametrize("reason", [Reason.OUTPUT_MISSING, Reason.OUTPUT_UNREADABLE])
def test_a_failure_that_no_record_is_to_blame_for_is_not_split(reason: Reason) -> None:
    assert follows(reason, 200) == DeadLetter()


def test_the_reasons_that_splitting_can_help() -> None:
    assert {str(reason) for reason in Reason if reason.can_split} == {
        "model_error",
        "model_server_error",
        "expired",
        "count_mismatch",
        "bad_answer",
        "id_mismatch",
        "output_too_large",
    }


def test_the_same_records_are_tried_together_before_they_are_split() -> None:
    reason, retry = Reason.MODEL_SERVER_ERROR, RetrySettings()
    after = [decide(reason, tries=n, records=9, left=9, retry=retry, jitter=0.0) for n in (1, 2, 3)]
    assert [isinstance(a, RetryInvocation) and a.parts for a in after] == [1, 1, 3]


def test_no_invocation_is_split_beyond_the_budget_and_the_key_is_named() -> None:
    assert isinstance(follows(Reason.MODEL_ERROR, 50, left=3), RetryInvocation)
    assert follows(Reason.MODEL_ERROR, 50, left=2) == DeadLetter(
        "this invocation of 50 records was not split, as the share in retry.bisection, 0.1, "
        "is used up; raise it, or look at packing.framing and packing.answer if no invocation of "
        "several records completes"
    )
    assert isinstance(follows(Reason.MODEL_ERROR, 2, left=2), RetryInvocation)
    assert follows(Reason.MODEL_ERROR, 50, left=0, bisection=0) == DeadLetter(
        "this invocation of 50 records was not split, as retry.bisection is 0"
    )


@given(st.floats(0, 2), st.integers(0, 10**7), st.integers(0, 10**7))
def test_the_split_budget_is_a_share_of_the_records_and_a_floor(
    share: float, read: int, made: int
) -> None:
    left = SplitBudget(share, read=read, made=made).left
    assert left >= 0
    if share == 0:
        assert left == 0
    elif left:
        assert left + made == FREE_PARTS + int(share * read)
    else:
        assert made >= FREE_PARTS + int(share * read)
