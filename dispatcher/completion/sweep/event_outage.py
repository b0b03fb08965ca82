"""The event outage detector: notices that completion events stop, and that they return. Pure."""

from dataclasses import KW_ONLY, dataclass

_STEP = 0.1
"""Weight of the newest completion in the share that had an event."""

_INITIAL_SHARE = 0.3
"""Share before the first completion. Eleven in a row without an event are then an outage; after a
time with events it takes 22, far more than single lost events ever make in a row."""

_BEGINS, _ENDS = 0.1, 0.5
"""Shares with an event at which an outage begins and ends; far apart, so that a queue that loses
most of its events does not make it come and go."""

_DELIVERY_SECONDS = 10.0
"""Time for an event to arrive although its output was seen first."""


@dataclass(slots=True)
class EventOutageDetector:
    """Follows the share of completions that had an event.

    Attributes:
        last_event: Epoch seconds of the last event, or of the start of this process.
        has_heard: Any event has come.
        is_outage: Events do not arrive.
        missed: Completions without an event since the last event.
    """

    last_event: float
    _: KW_ONLY
    has_heard: bool = False
    is_outage: bool = False
    missed: int = 0
    _missed_since: float = 0.0
    _share: float = _INITIAL_SHARE

    def heard(self, now: float) -> bool:
        """Note an event; return whether it ends an outage."""
        self.last_event, self.has_heard, self.missed = now, True, 0
        self._share += _STEP * (1 - self._share)
        if not self.is_outage or self._share <= _ENDS:
            return False
        self.is_outage = False
        return True

    def found(self, earliest: float, now: float) -> None:
        """Note a completion without an event.

        Args:
            earliest: Epoch seconds before which it cannot have completed. If that was before the
                last event, its own is a single lost one, and events did arrive after it.
            now: Epoch seconds.
        """
        if earliest <= self.last_event:
            return
        if not self.missed:
            self._missed_since = now
        self.missed += 1
        self._share -= _STEP * self._share

    def begins(self, now: float) -> bool:
        """Return whether an outage begins now: enough events are missing, and they are late."""
        is_late = self.missed > 0 and now - self._missed_since >= _DELIVERY_SECONDS
        if self.is_outage or self._share >= _BEGINS or not is_late:
            return False
        self.is_outage = True
        return True
