"""Correction of this machine's clock by that of AWS, which checks the time of signatures."""

import logging
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

_TOLERANCE_SECONDS = 60.0
"""Smaller differences are ignored: responses take time, and AWS accepts minutes."""

_log = logging.getLogger(__name__)


class ClockSkew:
    """Clock of this machine, corrected by the responses of AWS.

    Attributes:
        offset: Seconds that are added to this machine's time.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.offset = 0.0

    def now(self) -> float:
        """Return the time to sign with, in epoch seconds."""
        return self._now() + self.offset

    def learn(self, date: str | None) -> bool:
        """Correct the clock by a response's Date header; return whether that changed anything."""
        try:
            aws_time = _seconds(date or "")
        except (ValueError, OverflowError):  # the latter: as of a year of twenty digits
            return False
        if abs(aws_time - self.now()) < _TOLERANCE_SECONDS:
            return False
        self.offset = aws_time - self._now()
        _log.warning(
            "this machine's clock is %+.0f s off AWS's; requests are signed with AWS's time",
            -self.offset,
        )
        return True


def _seconds(date: str) -> float:
    parsed = parsedate_to_datetime(date)
    return parsed.replace(tzinfo=parsed.tzinfo or UTC).timestamp()  # "-0000" is UTC, not our zone
