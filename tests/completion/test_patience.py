"""A run that nobody answers any more ends by itself."""

import pytest

from dispatcher.completion.patience import Patience
from dispatcher.errors import RunStopped, Transient
from dispatcher.observe.meter import Meter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_ends_after_failures_alone() -> None:
    clock, meter = Clock(), Meter()
    patience = Patience(60.0, clock, meter)
    patience.failed(Transient("down", code="NoConnection"))
    clock.now += 59.9
    patience.failed(Transient("down", code="NoConnection"))
    clock.now += 0.1
    with pytest.raises(RunStopped, match="state kept"):
        patience.failed(Transient("down", code="NoConnection"))
    assert meter.troubles == {"NoConnection": 3}


def test_one_answer_begins_the_time_anew() -> None:
    clock = Clock()
    patience = Patience(60.0, clock, Meter())
    patience.failed(Transient("down"))
    clock.now += 59.0
    patience.succeeded()
    clock.now += 59.0
    patience.failed(Transient("down"))
    clock.now += 59.0
    patience.failed(Transient("down"))
