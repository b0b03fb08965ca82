"""The one formula for waits: a doubling ceiling, a floor below it, and a cap."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.retry.backoff import backoff


@given(
    st.integers(1, 10_000),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1),
)
def test_a_wait_lies_between_its_floor_and_its_ceiling(
    failures: int, base: float, cap: float, jitter: float, floor: float
) -> None:
    wait = backoff(failures, base=base, cap=cap, jitter=jitter, floor=floor)
    ceiling = min(cap, base * 2.0 ** min(failures - 1, 60))
    assert floor * ceiling * 0.999 <= wait <= ceiling * 1.001


def test_the_ceiling_doubles_with_each_failure_up_to_the_cap() -> None:
    waits = [backoff(n, base=0.1, cap=1.0, jitter=0.0, floor=1.0) for n in range(1, 7)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_jitter_spreads_the_wait_over_the_range() -> None:
    waits = [backoff(1, base=10.0, cap=60.0, jitter=j, floor=0.1) for j in (0.0, 0.5)]
    assert waits == [1.0, 5.5]
