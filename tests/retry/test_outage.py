"""A run that nobody answers any more ends by itself."""

import pytest

from dispatcher.errors import RunStopped, Transient
from dispatcher.observe.meter import Meter
from dispatcher.retry.outage import OutageTimer


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_ends_after_failures_alone() -> None:
    clock, meter = Clock(), Meter()
    patience = OutageTimer(60.0, clock, "completions could not be asked for", meter.troubles)
    for _ in range(3):
        patience.failed(Transient("down", code="NoConnection"))
        clock.now += 20.0
    with pytest.raises(RunStopped, match="state kept"):
        patience.failed(Transient("down", code="NoConnection"))
    assert meter.troubles == {"NoConnection": 4}


def test_one_answer_begins_the_time_anew() -> None:
    clock = Clock()
    patience = OutageTimer(60.0, clock, "completions could not be asked for")
    for second in range(0, 600, 20):
        patience.failed(Transient("down"))
        clock.now += 20.0
        if second % 40:
            patience.succeeded()


def test_failures_far_apart_say_nothing_of_the_time_between_them() -> None:
    clock = Clock()
    patience = OutageTimer(60.0, clock, "completions could not be asked for")
    for _ in range(10):
        patience.failed(Transient("down"))
        clock.now += 600.0
