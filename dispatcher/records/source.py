"""The contract of every source: each record once, with a position, acknowledged once settled.

Files are read again from a mark after a crash; queues deliver again every message that was not
deleted. A record that was settled or is outstanding is recognised by its position, and a queue's
message by its name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dispatcher.records.record import Item, Position


@dataclass(frozen=True, slots=True)
class Mark:
    """The place where a stream is resumed: everything before it is settled.

    Made from a record's position: its ``end`` and its ``line``.

    Attributes:
        offset: In the stream's own unit (files: bytes of decoded content).
        line: Lines before the offset.
    """

    offset: int
    line: int


START = Mark(offset=0, line=0)
"""The begin of a stream, for one that has no mark."""


class Source(Protocol):
    """Reader of every item after the marks, exactly once, stream by stream, in order.

    Called by one task: ``open`` once, ``read`` until it returns an empty list, ``aclose`` always.
    Beside it ``run`` goes on from ``open`` to the end, and the settler calls
    ``acknowledge``. The positions of a stream's items adjoin each other, so any item's end is a
    mark.
    """

    async def open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        """Check that the input can be read, and prepare to read it after the marks.

        Args:
            marks: The mark of each stream; one without a mark is read from its start.
            heads: The result of an earlier ``open`` of the same run.

        Returns:
            Fingerprints that identify the streams on resume, of those that have any.

        Raises:
            ConfigError: Input is missing, cannot be read, or is of a kind that cannot be a source.
            StateError: Input differs from the input read before.
        """
        ...

    async def read(self) -> list[Item]:
        """Return the next batch; an empty list at the end, and from then on.

        May be cancelled; the source can then only be closed.

        Raises:
            StateError: Input that could be read before cannot be read any more.
        """
        ...

    async def run(self) -> None:
        """Do the work beside reading, until ``finish`` or cancelled.

        Raises:
            RunStopped: The source cannot be reached any more; nothing is lost.
        """
        ...

    def stop(self) -> None:
        """Take in no more input: it would not be read."""
        ...

    def acknowledge(self, positions: Iterable[Position]) -> None:
        """Mark records as settled: their outcomes are durable in the sinks."""
        ...

    async def finish(self) -> None:
        """Return when the source has removed everything acknowledged, as far as possible."""
        ...

    async def aclose(self) -> None:
        """Release files; harmless when repeated, and when ``open`` failed."""
        ...

    @property
    def may_pause(self) -> bool:
        """True where more may come after a time with nothing to read; known once open."""
        ...

    @property
    def bytes_expected(self) -> int | None:
        """Size of the whole input as it lies on disk; None where it cannot be known."""
        ...

    @property
    def bytes_read(self) -> int:
        """Bytes of the input already read, those settled by earlier processes included."""
        ...


class MessageLog(Protocol):
    """A run's memory of one queue's messages; the ledger implements it."""

    @property
    def next_number(self) -> int:
        """The lowest number never given to a record of this queue."""
        ...

    @property
    def outstanding(self) -> Mapping[str, Position]:
        """Messages that earlier processes left outstanding, by name."""
        ...

    @property
    def settled(self) -> Mapping[str, float]:
        """Settled messages that may be delivered again, by name, with epoch seconds."""
        ...

    def is_idle(self) -> bool:
        """Return whether nothing of the run is under way: all is settled, or held back."""
        ...

    def forget(self, names: Sequence[str]) -> None:
        """Forget settled messages: they will not be delivered again."""
