"""The token bucket: a limit on requests a second. Pure."""


class TokenBucket:
    """Hands out the moments at which requests may be made.

    In any window of ``w`` seconds at most ``rate * (w + 1)`` are: what a second allows may be made
    at once after a pause.

    Args:
        rate: Requests a second.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._next = 0.0
        """The moment at which the bucket is full again."""

    def take(self, now: float) -> float:
        """Take a token; return how many seconds from ``now`` its request has to wait."""
        self._next = max(self._next, now) + 1 / self.rate
        return max(0.0, self._next - max(1.0, 1 / self.rate) - now)
