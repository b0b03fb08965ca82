"""The clocks and random numbers of a run, in one object that tests and the simulation replace."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field


def steady_clock() -> Callable[[], float]:
    """Return a clock of epoch seconds that does not jump when the machine's clock is set.

    Ages decide what is overdue and what has expired; a jump must not expire what is under way.
    """
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


@dataclass(frozen=True, slots=True)
class Environment:
    """Time and chance.

    Attributes:
        monotonic: Seconds on a steady clock.
        now: Epoch seconds on a steady clock.
        rng: Random numbers for jitter; nothing secret is made of them.
    """

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = field(default_factory=steady_clock)
    rng: random.Random = field(default_factory=random.Random)
