"""The latency estimator: quantiles of the time that completions take. Pure, bounded."""

import math
from collections import Counter

_GROWTH = 1.1
_LOG_GROWTH = math.log(_GROWTH)
_RANGE_SECONDS = 1e-3, 1e6

_MEMORY = 1000.0
"""Weight at which all that was learned is halved, so that what is newer counts for more: after a
change to shorter times 3,500 completions push the old ones out of the highest percent; a change to
longer ones shows after ten."""

_FORGOTTEN = 0.01
"""Weight of a bucket below which it is dropped."""


class LatencyEstimator:
    """Recent durations in buckets that grow by 10 percent: at most 220 of them.

    A completion that came by event shows how long it took. One that was found by a look shows only
    between which two looks it ended. Taking the later one would be a bound from above that feeds
    itself: what is looked for late is found late, and would then be expected later still. So the
    middle between the two looks is taken. While finds come at the first look that halves the guess;
    once looks come too early, two of them enclose the truth.
    """

    def __init__(self) -> None:
        self._weights: Counter[int] = Counter()
        self._total = 0.0

    def add(self, seconds: float) -> None:
        """Learn from a completion that took so long."""
        self._weights[_bucket(seconds)] += 1
        self._total += 1
        if self._total >= _MEMORY:
            halves = {bucket: weight / 2 for bucket, weight in self._weights.items()}
            self._weights = Counter({b: w for b, w in halves.items() if w >= _FORGOTTEN})
            self._total = sum(self._weights.values())

    def add_between(self, earliest: float, latest: float) -> None:
        """Learn from a completion of which only the two probes around it are known, in seconds."""
        self.add((earliest + latest) / 2)

    def quantile(self, share: float) -> float | None:
        """Return the seconds within which ``share`` (0..1) complete; None if nothing is known."""
        remaining = share * self._total
        seconds = None
        for bucket in sorted(self._weights):
            seconds = _RANGE_SECONDS[0] * math.pow(_GROWTH, bucket + 0.5)
            remaining -= self._weights[bucket]
            if remaining <= 0:
                break
        return seconds

    def __len__(self) -> int:
        """Return how many buckets are in use."""
        return len(self._weights)


def _bucket(seconds: float) -> int:
    smallest, largest = _RANGE_SECONDS
    return int(math.log(min(max(seconds, smallest), largest) / smallest) / _LOG_GROWTH)
