"""The clocks of a run: steady, whatever happens to the machine's clock."""

import time

import pytest

from dispatcher.environment import Environment, steady_clock


def test_the_epoch_clock_begins_at_the_time_of_the_machine() -> None:
    assert steady_clock()() == pytest.approx(time.time(), abs=1.0)


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_the_epoch_clock_does_not_jump_when_the_machine_is_set(
    monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    clock, machine = steady_clock(), time.time
    before = clock()
    monkeypatch.setattr(time, "time", lambda: machine() + jump)
    assert 0 <= clock() - before < 1.0


def test_the_epoch_clock_goes_on_with_the_monotonic_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, monotonic = steady_clock(), time.monotonic
    before = clock()
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 60.0)
    assert clock() - before == pytest.approx(60.0, abs=1.0)


def test_every_environment_has_random_numbers_of_its_own() -> None:
    one, other = Environment(), Environment()
    one.rng.seed(1)
    other.rng.seed(1)
    assert one.rng.random() == other.rng.random()
    assert one.rng is not other.rng
