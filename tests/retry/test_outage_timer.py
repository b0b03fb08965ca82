"""An outage timer ends a run whose requests all fail, and reports troubles."""

import pytest

from dispatcher.errors import RunStopped, Transient
from dispatcher.retry.outage_timer import (
    OutageEvent,
    OutageTimer,
    RequestFailed,
    TroubleBegan,
    TroubleEnded,
)

SYMPTOM = "completions could not be asked for"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_failures_alone_end_the_run() -> None:
    clock = Clock()
    timer = OutageTimer(60.0, clock, SYMPTOM)
    for _ in range(3):
        timer.failed(Transient("down", code="NoConnection"))
        clock.now += 20.0
    with pytest.raises(RunStopped, match=f"{SYMPTOM} in 1 minutes; the last error: down.*kept"):
        timer.failed(Transient("down", code="NoConnection"))


def test_one_success_restarts_the_time() -> None:
    clock = Clock()
    timer = OutageTimer(60.0, clock, SYMPTOM)
    for second in range(0, 600, 20):
        timer.failed(Transient("down"))
        clock.now += 20.0
        if second % 40:
            timer.succeeded()


def test_failures_far_apart_say_nothing_of_the_time_between_them() -> None:
    clock = Clock()
    timer = OutageTimer(60.0, clock, SYMPTOM)
    for _ in range(10):
        timer.failed(Transient("down"))
        clock.now += 600.0


def test_a_trouble_is_reported_when_it_begins_and_when_it_ends() -> None:
    clock, events = Clock(), list[OutageEvent]()
    timer = OutageTimer(60.0, clock, SYMPTOM, observe=events.append)
    timer.succeeded()
    timer.failed(Transient("down", code="NoConnection"))
    clock.now += 20.0
    timer.failed(Transient("still down"))
    timer.succeeded()
    timer.succeeded()
    assert events == [
        RequestFailed(SYMPTOM, "NoConnection"),
        TroubleBegan(SYMPTOM, "down"),
        RequestFailed(SYMPTOM, "Transient"),
        TroubleEnded(SYMPTOM, 20.0),
    ]


@pytest.mark.parametrize("gap", [6.0, 16.0, 59.0])
def test_the_gaps_of_a_caller_that_asks_without_pause_are_the_outage(gap: float) -> None:
    clock = Clock()
    timer = OutageTimer(10.0, clock, SYMPTOM, forgets_gaps=False)
    timer.failed(Transient("down"))
    clock.now += gap
    if gap < 10.0:
        timer.failed(Transient("down"))
        clock.now += gap
    with pytest.raises(RunStopped):
        timer.failed(Transient("down"))


def test_a_trouble_lasts_from_its_first_failure_also_over_gaps() -> None:
    clock, events = Clock(), list[OutageEvent]()
    timer = OutageTimer(60.0, clock, SYMPTOM, observe=events.append)
    for _ in range(3):
        timer.failed(Transient("down"))
        clock.now += 600.0
    timer.succeeded()
    assert [event for event in events if not isinstance(event, RequestFailed)] == [
        TroubleBegan(SYMPTOM, "down"),
        TroubleEnded(SYMPTOM, 1_800.0),
    ]
