"""The time of AWS, which refuses signatures that are more than some minutes off."""

import logging
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

_APART_SECONDS = 60.0
"""Corrections below this are none: the answer was under way, and signatures may be minutes off."""

_log = logging.getLogger(__name__)


class ClockSkew:
    """This machine's time, corrected by what AWS answers.

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
        """Take over the time of an answer's Date header; return whether that changed anything."""
        try:
            theirs = _seconds(date or "")
        except (ValueError, OverflowError):  # the latter: as of a year of twenty digits
            return False
        if abs(theirs - self.now()) < _APART_SECONDS:
            return False
        self.offset = theirs - self._now()
        _log.warning(
            "this machine's clock is %+.0f s off AWS's; requests are signed with AWS's time",
            -self.offset,
        )
        return True


def _seconds(date: str) -> float:
    read = parsedate_to_datetime(date)
    return read.replace(tzinfo=read.tzinfo or UTC).timestamp()  # "-0000" is UTC, not our zone
