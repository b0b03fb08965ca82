"""An event loop without a world outside: nothing is waited for but its own time, which jumps."""

import asyncio
import math
import selectors
from collections.abc import Callable
from typing import Any

BEGAN = 1000.0
EPOCH = 1_700_000_000.0


class Exhausted(RuntimeError):
    """The loop went on after its limit of time."""


class _Nothing:
    """Instead of waiting for files it lets the time pass at once."""

    def __init__(self) -> None:
        self.time = BEGAN
        self.steps = 0
        self.limit: Callable[[], None] = _no_limit

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.steps += 1
        if timeout is None or timeout > 0 or not self.steps & 1023:
            self.limit()
        # A little past it, or a timer that is due to a billionth would find itself too early.
        self.time = math.nextafter(self.time + (timeout or 0.0), math.inf)
        return []

    def get_map(self) -> dict[int, Any]:
        return {}

    def close(self) -> None:
        """Have nothing to close."""


def _no_limit() -> None:
    """Set none."""


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop on whose clock only sleeping takes time.

    Attributes:
        on_limit: Called once with a reason when the loop takes too long, or waits for nothing.
        steps_left: Turns of the loop until then.
        until: Time of the loop until then.
    """

    def __init__(self) -> None:
        self.clock = _Nothing()
        super().__init__(self.clock)  # type: ignore[arg-type]
        self.clock.limit = self._check
        self.on_limit: Callable[[str], None] = self._give_up
        self._clock_resolution = 0.0
        self.steps_left = 0
        self.until = 0.0

    def time(self) -> float:
        return self.clock.time

    def wall(self) -> float:
        return EPOCH + self.clock.time - BEGAN

    def _check(self) -> None:
        reason = ""
        if self.clock.steps > self.steps_left:
            reason = f"more than {self.steps_left} turns of the event loop"
        elif self.clock.time > self.until:
            reason = f"more than {self.until - BEGAN:.0f} seconds"
        elif not self._ready and not self._scheduled:  # type: ignore[attr-defined]
            reason = "everything waits, and nothing will ever happen"
        if reason:
            on_limit, self.on_limit = self.on_limit, self._give_up
            # What is left is to unwind.
            self.steps_left = self.clock.steps + 20_000
            self.until = self.clock.time + 1000.0
            on_limit(reason)

    def _give_up(self, reason: str) -> None:
        raise Exhausted(reason)

    def _make_self_pipe(self) -> None:
        """Make none: nothing outside wakes this loop."""

    def _close_self_pipe(self) -> None:
        """Close none."""

    def _process_events(self, event_list: Any) -> None:
        """Have none."""

    def _write_to_self(self) -> None:
        """Do nothing: the loop never sleeps."""
