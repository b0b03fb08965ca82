"""The size of parcels where some records make a whole parcel fail."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.packing.adaptive_batch_size import HALF_LIFE_RECORDS, BatchSize


def cost(size: int, share: float) -> float:
    """Return the invocations that a record costs."""
    return 1 / size + share * 3 * math.log(size, 3)


def seen(share: float, records: int = 1_000_000) -> BatchSize:
    batch_size = BatchSize()
    for _ in range(records // 1_000):
        batch_size.observe(1_000, round(1_000 * share))
    return batch_size


@pytest.mark.parametrize("max_records", [1, 200, 100_000])
def test_nothing_bad_limits_nothing(max_records: int) -> None:
    batch_size = BatchSize()
    assert batch_size.limit(max_records) == max_records
    batch_size.observe(1_000_000, 0)
    assert batch_size.limit(max_records) == max_records


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.2])
def test_the_limit_is_where_a_record_costs_least(share: float) -> None:
    least = min(range(1, 10_000), key=lambda size: cost(size, share))
    limit = seen(share).limit(100_000)
    assert limit == pytest.approx(least, rel=0.15, abs=1)
    assert cost(limit, share) < 1.02 * cost(least, share)


def test_a_small_share_does_not_limit_what_is_packed_less() -> None:
    assert seen(0.001).limit(200) == 200


def test_where_nearly_all_are_bad_each_travels_alone() -> None:
    assert seen(0.9).limit(1_000) == 1


def test_one_bad_record_at_the_start_shows_little() -> None:
    batch_size = BatchSize()
    batch_size.observe(200, 1)
    assert batch_size.limit(200) == 200


def test_a_bad_start_is_noticed_within_two_thousand_records() -> None:
    batch_size = BatchSize()
    for _ in range(10):
        batch_size.observe(200, 20)
    assert batch_size.limit(200) <= 8


def test_what_is_long_past_is_forgotten() -> None:
    batch_size = seen(0.1)
    assert batch_size.limit(1_000) < 5
    batch_size.observe(HALF_LIFE_RECORDS, 0)
    assert batch_size.limit(1_000) == pytest.approx(2 * seen(0.1).limit(1_000), abs=2)
    batch_size.observe(20 * HALF_LIFE_RECORDS, 0)
    assert batch_size.limit(1_000) == 1_000


def test_an_earlier_process_is_remembered() -> None:
    assert BatchSize(bad=5_000, records=50_000).limit(1_000) < 6
    assert BatchSize(bad=5, records=50_000).limit(1_000) == 1_000
    assert BatchSize(bad=0, records=0).limit(1_000) == 1_000


def test_no_news_changes_nothing() -> None:
    batch_size = BatchSize(10, 1_000)
    before = batch_size.limit(100_000)
    batch_size.observe(0, 0)
    assert batch_size.limit(100_000) == before


def test_it_matters_little_how_many_are_observed_at_once() -> None:
    rng = random.Random(7)
    one, many = BatchSize(), BatchSize()
    for _ in range(50):
        bad = [rng.random() < 0.02 for _ in range(1_000)]
        many.observe(len(bad), sum(bad))
        for each in bad:
            one.observe(1, each)
    assert one.limit(100_000) == pytest.approx(many.limit(100_000), rel=0.02, abs=1)


@given(
    observed=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=20),
    max_records=st.integers(1, 100_000),
)
def test_the_limit_is_always_one_that_can_be_kept(
    observed: list[tuple[int, int]], max_records: int
) -> None:
    batch_size = BatchSize()
    for records, bad in observed:
        batch_size.observe(records, bad)
    assert 1 <= batch_size.limit(max_records) <= max_records
