"""The Date header; clients correct a wrong clock by it."""

from email.utils import formatdate

from dispatcher.emulator.clock import Clock


class HttpDate:
    """The time as HTTP writes it; formatted again only when the second has changed.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._text = ""

    def __call__(self) -> str:
        """Return the value of a Date header, as ``Tue, 15 Nov 1994 08:12:31 GMT``."""
        second = int(self._clock.now())
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True)
        return self._text
