"""A token bucket, over any window of time."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.retry.token_bucket import TokenBucket


@given(
    rate=st.integers(1, 200),
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.1, 1.0, 30.0]), max_size=300),
)
def test_no_window_holds_more_than_its_seconds_and_one_allow(rate: int, gaps: list[float]) -> None:
    bucket, now, made = TokenBucket(rate), 1_000.0, []
    for gap in gaps:
        now += gap
        made.append(now + bucket.take(now))
    assert all(earlier <= later for earlier, later in pairwise(made)), "first come, first served"
    for first, begin in enumerate(made):
        for count, end in enumerate(made[first:], 1):
            assert count <= rate * (end - begin + 1) + 1e-6


@given(rate=st.integers(1, 200), pause=st.floats(1.0, 1e6))
def test_after_a_pause_a_second_of_requests_goes_at_once(rate: int, pause: float) -> None:
    bucket = TokenBucket(rate)
    for now in (1_000.0, 1_000.0 + 2 * pause):
        waits = [bucket.take(now) for _ in range(rate + 1)]
        assert max(waits[:rate]) < 1e-6
        assert waits[rate] >= 1 / rate - 1e-6
