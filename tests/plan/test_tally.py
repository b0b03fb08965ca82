"""Counts of requests: spreads are exact to three digits, partial requests count as shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.plan.extent import Extent
from dispatcher.plan.tally import Spread
from tests.plan.plans import config, plan_of, records


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_a_spread_is_exact_to_three_digits(numbers: list[int]) -> None:
    spread = Spread()
    for number in numbers:
        spread.add(number)
    ordered = sorted(numbers)
    assert (spread.count, spread.total) == (len(numbers), sum(numbers))
    assert (spread.smallest, spread.largest) == (ordered[0], ordered[-1])
    assert spread.percentile(1.0) == pytest.approx(ordered[-1], rel=0.01)
    middle = ordered[(len(ordered) + 1) // 2 - 1]
    assert spread.percentile(0.5) == pytest.approx(middle, rel=0.01)
    steps = list(spread.steps())
    assert sum(count for _, _, count in steps) == len(numbers)
    for low, high, count in steps:
        assert count == sum(low <= number < high for number in numbers)


def test_an_empty_spread() -> None:
    spread = Spread()
    assert (spread.mean, spread.percentile(0.5), list(spread.steps())) == (0.0, 0, [])


def test_one_large_record_says_nothing_of_the_small_ones() -> None:
    lines = records([b'"%b"' % (b"x" * size) for size in (300_000, *[98] * 299)])
    settings = config(framing="lines", max_records=1_000)
    plan = plan_of(lines, settings, trial_bytes=0, extent=Extent(complete=False, scale=10.0))
    assert plan.estimate is not None
    assert plan.estimate.requests == pytest.approx(10 * (1 + 0.299))
