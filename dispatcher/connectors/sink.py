"""The contract of sinks: what was written is durable, and a restart knows how far that is."""

from collections.abc import Sequence
from typing import Protocol

from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Outcome


class Sink(Protocol):
    """A place for outcomes; called by one task.

    A sink with a mark is cut back to it by the next process after a crash, so it holds each line
    exactly once. A sink without one may hold an outcome twice, with the same key.
    """

    @property
    def name(self) -> str:
        """The name that the ledger records it under."""
        ...

    @property
    def mark(self) -> SinkMark | None:
        """The position up to which it is written; None for a sink that cannot be cut back."""
        ...

    async def write(self, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes; they are durable when it returns.

        Raises:
            RunStopped: They cannot be written, and a person has to correct that.
        """
        ...
