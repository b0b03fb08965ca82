"""Exponential backoff with jitter: the one formula for waits that grow with each failure. Pure.

Reads of outputs and deletions of staged objects are repeated after a few short fixed waits instead.
"""

_MAX_DOUBLINGS = 60
"""2.0 ** 60 is still far below what a float can hold."""


def backoff(failures: int, *, base: float, cap: float, jitter: float, floor: float = 0.5) -> float:
    """Return how many seconds to wait before trying again.

    The ceiling doubles with each failure up to ``cap``; the wait is spread evenly between
    ``floor * ceiling`` and ``ceiling``, so that callers that failed together return at different
    times.

    Args:
        failures: Failures so far, from 1.
        base: Ceiling after the first failure, in seconds.
        cap: Highest ceiling, in seconds.
        jitter: A random number, 0 <= jitter < 1.
        floor: Shortest wait as a share of the ceiling.
    """
    ceiling = min(cap, base * 2.0 ** min(failures - 1, _MAX_DOUBLINGS))
    return ceiling * (floor + (1 - floor) * jitter)
