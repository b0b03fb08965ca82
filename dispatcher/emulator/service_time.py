"""How long the emulated model takes."""

import math
from random import Random

from dispatcher.config.settings import ServiceTime

_Z99 = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""


class ServiceTimes:
    """Draws log-normal times through the configured median and 99th percentile.

    Args:
        settings: The two quantiles, in seconds.
        random: Source of randomness; equal seeds draw equal times.
    """

    def __init__(self, settings: ServiceTime, random: Random) -> None:
        self._median = settings.median
        self._random = random
        self._sigma = 0.0
        if settings.p99 is not None and settings.median > 0:
            self._sigma = math.log(settings.p99 / settings.median) / _Z99

    def draw(self) -> float:
        """Return the time of one inference in seconds."""
        if not self._sigma:
            return self._median
        return self._median * math.exp(self._sigma * self._random.gauss(0.0, 1.0))
