"""A snapshot of the meter: the numbers that every display shows, with rate and remaining time.

Pure: the time is an argument, nothing is printed here.
"""

import math
from dataclasses import KW_ONLY, dataclass, field

from dispatcher.observe.events import Phase
from dispatcher.observe.meter import Meter

_SMOOTHING_SECONDS = 10.0
"""Time constant of the smoothed rate: calm to look at, and right again soon after a change."""

TROUBLES = ("throttled", "transient", "unknown", "rejected", "denied")
"""Results of calls that are worth a word while a run goes on."""


@dataclass(slots=True)
class Pace:
    """The smoothed rate of settled records.

    An exponential average, corrected for its short past at the beginning of a run.
    """

    started: float
    _: KW_ONLY
    _at: float = field(init=False)
    _settled: int | None = None
    _sum: float = 0.0
    _weight: float = 0.0

    def __post_init__(self) -> None:
        self._at = self.started

    def update(self, now: float, settled: int) -> float | None:
        """Take in the count at ``now`` and return records a second; None before the second look."""
        if self._settled is None:
            self._at, self._settled = now, settled
            return None
        elapsed = now - self._at
        if elapsed > 0:
            keep = math.exp(-elapsed / _SMOOTHING_SECONDS)
            rate = max(settled - self._settled, 0) / elapsed
            self._sum = keep * self._sum + (1 - keep) * rate
            self._weight = keep * self._weight + (1 - keep)
            self._at, self._settled = now, settled
        return self._sum / self._weight if self._weight else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The numbers of a run at one moment.

    Attributes:
        phase: Where the run stands.
        seconds: Since this process began.
        read: Records read, over restarts; so are ``completed`` and ``dead``.
        sent: Invocations that the service accepted in this process.
        outstanding: Invocations without an outcome.
        on_wire: Calls under way.
        completed: Records with an output.
        dead: Records in the dead letters.
        rate: Settled records a second, smoothed; None where nothing is known yet.
        share: Settled share of the input, 0..1; None where its size is unknown.
        remaining: Seconds to the end at this rate; None where it cannot be said.
        inline_share: Share of the planned invocations that travel inline; None before the first.
        troubles: Calls that were not accepted, by result, without zeros.
        split: Failed invocations of several records that were split, over restarts.
        parts: Invocations that were made of their parts.
    """

    phase: Phase
    seconds: float
    read: int
    sent: int
    outstanding: int
    on_wire: int
    completed: int
    dead: int
    rate: float | None
    share: float | None
    remaining: float | None
    inline_share: float | None
    troubles: dict[str, int]
    split: int
    parts: int


_MAX_REMAINING_SECONDS = 30 * 86_400
"""Longest remaining time that is shown; a longer one means that a last record is waited for."""


def take(meter: Meter, now: float, pace: Pace) -> Snapshot:
    """Take a snapshot of a meter.

    Args:
        meter: The run's counters.
        now: Seconds on the clock that ``pace`` was started with.
        pace: The memory of this display; it moves on.
    """
    settled = meter.completed + meter.dead
    # What earlier processes settled appears all at once when the ledger is opened: that is no pace.
    rate = pace.update(now, settled - meter.resumed_from)
    expected = _expected_records(meter)
    planned = meter.invocations.total()
    remaining = None
    if expected is not None and rate:
        remaining = max(expected - settled, 0) / rate
        if remaining > _MAX_REMAINING_SECONDS:
            remaining = None
    return Snapshot(
        phase=meter.phase,
        seconds=now - pace.started,
        read=meter.read,
        sent=meter.calls["accepted"],
        outstanding=meter.outstanding,
        on_wire=meter.on_wire,
        completed=meter.completed,
        dead=meter.dead,
        rate=rate,
        share=min(settled / expected, 1.0) if expected else None,
        remaining=remaining,
        inline_share=meter.invocations["inline"] / planned if planned else None,
        troubles={name: meter.calls[name] for name in TROUBLES if meter.calls[name]},
        split=meter.split,
        parts=meter.parts,
    )


def _expected_records(meter: Meter) -> float | None:
    """Estimate how many records the input holds, from the share of its bytes that is read."""
    if not meter.bytes_expected or not meter.bytes_read or not meter.read:
        return None
    return meter.read * max(meter.bytes_expected / meter.bytes_read, 1.0)
