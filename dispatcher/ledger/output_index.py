"""Index of outstanding invocations by the locations of their outputs."""

from collections.abc import Iterable

from dispatcher.ledger.invocation import Entry


class OutputIndex:
    """Numbers of invocations by location, where the location does not contain the id.

    Args:
        entries: The outstanding invocations at the start.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._numbers: dict[str, int] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Add the locations of an invocation that do not contain its id."""
        for location in (entry.output, entry.failure):
            if location is not None and entry.planned.id not in location:
                self._numbers[location] = entry.planned.number

    def remove(self, entry: Entry) -> None:
        """Remove the locations of an invocation that is over."""
        if self._numbers:
            for location in (entry.output, entry.failure):
                self._numbers.pop(location or "", None)

    def number_at(self, location: str) -> int | None:
        """Return the invocation whose output or failure the service put there."""
        return self._numbers.get(location)
