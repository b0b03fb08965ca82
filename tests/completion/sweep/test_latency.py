"""Latency estimates, learned from events and from probes alone."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.completion.sweep.latency import LatencyEstimator


def test_nothing_is_known_at_first() -> None:
    assert LatencyEstimator().quantile(0.99) is None


@given(
    st.lists(st.floats(0.002, 900_000), min_size=1, max_size=400),
    st.sampled_from([0.5, 0.75, 0.99]),
)
def test_a_quantile_is_within_a_bucket_of_the_true_one(times: list[float], share: float) -> None:
    expectation = LatencyEstimator()
    for seconds in times:
        expectation.add(seconds)
    wanted = sorted(times)[max(0, -int(-share * len(times) // 1) - 1)]
    assert expectation.quantile(share) == pytest.approx(wanted, rel=0.06)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("median", "spread"), [(0.05, 0.1), (2.0, 0.5), (600.0, 1.0)])
def test_quantiles_of_many_stay_near_the_true_ones(median: float, spread: float, seed: int) -> None:
    rng, expectation = random.Random(seed), LatencyEstimator()
    times = [median * rng.lognormvariate(0, spread) for _ in range(20_000)]
    for seconds in times:
        expectation.add(seconds)
    times.sort()
    for share, factor in ((0.75, 1.15), (0.99, 1.5)):
        wanted = times[int(share * len(times))]
        guess = expectation.quantile(share)
        assert guess is not None
        assert wanted / factor < guess < wanted * factor


def test_a_change_to_longer_times_shows_soon_and_one_to_shorter_times_in_the_end() -> None:
    expectation = LatencyEstimator()
    for seconds, count in ((2.0, 10_000), (600.0, 20)):
        for _ in range(count):
            expectation.add(seconds)
    assert expectation.quantile(0.99) == pytest.approx(600.0, rel=0.06)
    for _ in range(4_000):
        expectation.add(2.0)
    assert expectation.quantile(0.99) == pytest.approx(2.0, rel=0.06)


@given(st.lists(st.floats(0, 1e12), max_size=300))
def test_its_size_is_bounded_and_every_time_is_taken(times: list[float]) -> None:
    expectation = LatencyEstimator()
    for seconds in times * 10:
        expectation.add(seconds)
    assert len(expectation) <= 220
    assert times == [] or 0 < (expectation.quantile(1.0) or 0) < 2e6


@settings(max_examples=30)
@given(truth=st.floats(0.5, 3_000), guess=st.floats(0.5, 3_000))
def test_probes_alone_come_near_the_truth_wherever_the_first_guess_was(
    truth: float, guess: float
) -> None:
    expectation = LatencyEstimator()
    for _ in range(120):  # generations of invocations, each probed for when it is expected
        first = expectation.quantile(0.75) or guess
        earliest, latest = 0.0, first
        while latest < truth:
            earliest, latest = latest, latest * 1.5
        for _ in range(100):
            expectation.add_between(earliest, latest)
    assert truth / 3 < (expectation.quantile(0.75) or 0) < truth * 2
