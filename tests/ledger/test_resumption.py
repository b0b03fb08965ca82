"""An invocation of an earlier process may have been sent, unless its time had not come."""

import pytest

from dispatcher.ledger.ids import InvocationNumbers
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.resumption import may_have_been_sent, resume
from dispatcher.ledger.states import State
from dispatcher.retry.invocations import BACKOFF_CAP_SECONDS

NOW = 10_000.0


def loaded(planned_at: float = NOW - 10, **fields: float | None) -> Entry:
    planned = Planned(1, "id", "s", "t", "inline", 1, may_have_been_sent=True)
    state = State.ACCEPTED if fields.get("accepted_at") else State.PLANNED
    return Entry(planned, [], None, 0, planned_at, state, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("is_loaded", "is_before_its_time", "expected"),
    [(False, False, False), (False, True, False), (True, False, True), (True, True, False)],
)
def test_the_rule(is_loaded: bool, is_before_its_time: bool, expected: bool) -> None:
    answer = may_have_been_sent(is_loaded=is_loaded, is_before_its_time=is_before_its_time)
    assert answer is expected


def test_an_invocation_of_this_process_was_sent_by_no_other() -> None:
    planned = InvocationNumbers("0123abcz", 0, is_resumed=True).planned("t", "inline", 1, "json")
    assert not planned.may_have_been_sent


@pytest.mark.parametrize(
    ("not_before", "expected"),
    [(None, True), (NOW - 1, True), (NOW, True), (NOW + 1, False)],
)
def test_an_invocation_before_its_time_was_not_sent(
    not_before: float | None, expected: bool
) -> None:
    entry = loaded(not_before=not_before)
    resume([entry], NOW)
    assert entry.planned.may_have_been_sent is expected
    assert entry.not_before == not_before


@pytest.mark.parametrize("stored", [{"planned_at": NOW + 5}, {"accepted_at": NOW + 5}])
def test_after_the_clock_went_back_no_time_proves_anything(stored: dict[str, float]) -> None:
    waiting, other = loaded(not_before=NOW + 1), loaded(**stored)
    resume([waiting, other], NOW)
    assert waiting.planned.may_have_been_sent


def test_no_time_stays_in_the_future_and_no_wait_is_longer_than_a_backoff() -> None:
    entry = loaded(NOW + 5, accepted_at=NOW + 7, not_before=NOW + 1e6)
    resume([entry], NOW)
    assert (entry.planned_at, entry.accepted_at) == (NOW, NOW)
    assert entry.not_before == NOW + BACKOFF_CAP_SECONDS
