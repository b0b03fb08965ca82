"""Service times."""

import math
from random import Random

import pytest

from dispatcher.config.settings import ServiceTime
from dispatcher.emulator.models.model import ServiceTimes


def test_service_time_goes_through_its_quantiles() -> None:
    times = ServiceTimes(ServiceTime(median=0.2, p99=1.0), Random(3))
    drawn = sorted(times.draw() for _ in range(20_000))
    assert math.isclose(drawn[10_000], 0.2, rel_tol=0.05)
    assert math.isclose(drawn[19_800], 1.0, rel_tol=0.1)


def test_service_time_is_seeded() -> None:
    quantiles = ServiceTime(median=0.2, p99=1.0)
    one, two = (ServiceTimes(quantiles, Random(9)) for _ in range(2))
    assert [one.draw() for _ in range(5)] == [two.draw() for _ in range(5)]


@pytest.mark.parametrize("quantiles", [ServiceTime(median=0.3), ServiceTime(median=0.0, p99=1.0)])
def test_service_time_without_spread_is_constant(quantiles: ServiceTime) -> None:
    times = ServiceTimes(quantiles, Random(0))
    assert {times.draw() for _ in range(10)} == {quantiles.median}
