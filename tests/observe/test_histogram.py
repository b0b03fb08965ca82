"""Percentiles are right within the width of a bucket, and buckets are cumulative."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.observe.histogram import Histogram
from dispatcher.observe.metrics import COMPLETION_BUCKETS

DURATIONS = st.lists(st.floats(1e-6, 100_000), min_size=1, max_size=100)


@given(DURATIONS, st.sampled_from([0.5, 0.9, 0.99]))
def test_percentiles(durations: list[float], share: float) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    rank = next(i for i in range(1, len(durations) + 1) if i >= share * len(durations) - 1e-9)
    assert histogram.percentile(share) == pytest.approx(sorted(durations)[rank - 1], rel=0.021)


@given(DURATIONS)
def test_buckets_count_what_lies_below_them(durations: list[float]) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    counts = [histogram.at_most(bound) for bound in COMPLETION_BUCKETS]
    assert counts == sorted(counts)
    assert counts[-1] <= histogram.count
    for bound, count in zip(COMPLETION_BUCKETS, counts, strict=True):
        assert count >= sum(duration <= bound * 0.999 for duration in durations)
        assert count <= sum(duration <= bound * 1.021 for duration in durations)


def test_an_empty_histogram() -> None:
    assert Histogram().percentile(0.99) == 0.0
    assert Histogram().at_most(1.0) == 0


def test_its_size_is_bounded_by_the_range() -> None:
    histogram = Histogram()
    for i in range(1, 20_000):
        histogram.add(i / 100)
    assert len(histogram._buckets) < 600
