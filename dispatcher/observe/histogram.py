"""A histogram of durations with a bounded relative error and a bounded size."""

import math
from collections import Counter

_GROWTH = 1.02
_LOG_GROWTH = math.log(_GROWTH)
_SMALLEST_SECONDS = 1e-6


class Histogram:
    """Counts durations in buckets that grow by 2 percent, so percentiles are within 1 percent.

    Its size is bounded by the range of the values (about 1,300 buckets from 1 us to 24 h), never
    by their number.

    Attributes:
        count: Number of values.
        total: Sum of the values, in seconds.
        largest: Largest value, in seconds.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.largest = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one duration; what is below a microsecond counts as a microsecond."""
        seconds = max(seconds, _SMALLEST_SECONDS)
        self.count += 1
        self.total += seconds
        self.largest = max(self.largest, seconds)
        self._buckets[int(math.log(seconds / _SMALLEST_SECONDS) / _LOG_GROWTH)] += 1

    def percentile(self, share: float) -> float:
        """Return the value below which ``share`` (0..1) of the durations lie; 0.0 when empty."""
        remaining = share * self.count
        for bucket in sorted(self._buckets):
            remaining -= self._buckets[bucket]
            if remaining <= 0:
                middle = _SMALLEST_SECONDS * math.pow(_GROWTH, bucket + 0.5)
                return min(middle, self.largest)
        return self.largest

    def at_most(self, seconds: float) -> int:
        """Return how many durations were at most ``seconds`` (to the bucket's precision)."""
        edge = int(math.log(max(seconds, _SMALLEST_SECONDS) / _SMALLEST_SECONDS) / _LOG_GROWTH)
        return sum(n for bucket, n in self._buckets.items() if bucket <= edge)
