"""The faults of a run and their likelihood: the emulator's fault plan, and a little more."""

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from dispatcher.config.faults import FaultSettings
from dispatcher.emulator.faults.decisions import FAULTS

MORE = (
    "connection_refused",
    "late_arrival",
    "error_though_accepted",
    "denied",
    "output_broken_off",
    "s3_slow",
)
"""Faults of the way that the emulator does not play: a call that arrives after its caller has given
up, one that is taken and answered with an error, a connection that breaks in the middle of a body.
"""

_RARE = {"denied": 0.01, "silent_expiry": 0.1, "expiry": 0.1}
"""The most likely that these may be: each ends a process, or costs a deadline."""


def draw(rng: random.Random) -> dict[str, float]:
    """Return how likely each fault is in one run: none, a mixture, or a few in force."""
    kinds = (*FAULTS, *MORE)
    mood = rng.random()
    if mood < 0.1:
        return {}
    levels: dict[str, float]
    if mood < 0.75:
        levels = {kind: rng.choice((0.0, 0.01, 0.03, 0.1, 0.25)) for kind in kinds}
    else:
        levels = dict.fromkeys(rng.sample(kinds, 3), 0.6)
    return {kind: min(level, _RARE.get(kind, 1.0)) for kind, level in levels.items() if level}


def settings(levels: Mapping[str, float], rng: random.Random) -> FaultSettings:
    """Return the emulator's part of the faults."""
    values: dict[str, Any] = {kind: level for kind, level in levels.items() if kind in FAULTS}
    return FaultSettings(
        slow_accept_delay=rng.choice((1, 20)),
        duplicate_event_copies=rng.choice((1, 4)),
        late_event_delay=rng.choice((1, 20, 90)),
        reordered_event_window=rng.choice((1, 10)),
        **values,
    )


class Chance:
    """Throws the rng for the faults of the way.

    Attributes:
        struck: How often each happened.
    """

    def __init__(self, levels: Mapping[str, float], rng: random.Random) -> None:
        self.rng = rng
        self.struck: Counter[str] = Counter()
        self._levels = levels

    def strikes(self, kind: str) -> bool:
        """Return whether a fault of this kind happens now."""
        level = self._levels.get(kind, 0.0)
        if not level or self.rng.random() >= level:
            return False
        self.struck[kind] += 1
        return True
