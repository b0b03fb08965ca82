"""What every source promises: each record once, with a position, and forgotten only when settled.

Files are read again from a mark after a crash; queues deliver again what was not deleted. What was
settled or is outstanding is known by its position, and a queue's message by its name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dispatcher.records.record import Item, Position


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a stream is resumed: everything before is settled.

    Made from a record's position: its ``end`` and its ``line``.

    Attributes:
        offset: In the stream's own unit (files: bytes of decoded content).
        line: Lines before the offset.
    """

    offset: int
    line: int


START = Mark(offset=0, line=0)
"""Where a stream is read from that has no mark."""


class Source(Protocol):
    """Yields every item after the marks exactly once, stream by stream, in order.

    Called by one task: ``open`` once, ``read`` until it returns an empty list, ``aclose`` always.
    Beside it ``run`` goes on from ``open`` to the end, and ``acknowledge`` is called by whoever
    settles records. The positions of a stream's items adjoin each other, so any item's end is a
    mark.
    """

    async def open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        """Check that the input can be read, and prepare to read it after the marks.

        Args:
            marks: Where to resume, by stream; a stream without a mark is read from its start.
            heads: What an earlier ``open`` of the same run returned.

        Returns:
            Fingerprints by which the streams are known again, of those that have any.

        Raises:
            ConfigError: Input is missing, cannot be read, or is not what a source can read.
            StateError: Input is not what was read before.
        """
        ...

    async def read(self) -> list[Item]:
        """Return the next batch; an empty list at the end, and ever after.

        May be cancelled; the source can then only be closed.

        Raises:
            StateError: Input that could be read before cannot be read any more.
        """
        ...

    async def run(self) -> None:
        """Do what has to be done beside reading, until ``finish`` or cancelled.

        Raises:
            RunStopped: The source cannot be reached any more; nothing is lost.
        """
        ...

    def stop(self) -> None:
        """Take no more in: nobody is going to read it."""
        ...

    def acknowledge(self, positions: Iterable[Position]) -> None:
        """Take note that these records are settled: their outcomes are durable in the sinks."""
        ...

    async def finish(self) -> None:
        """Return when everything acknowledged is forgotten by the source, as far as it can be."""
        ...

    async def aclose(self) -> None:
        """Release files; harmless when repeated, and when ``open`` failed."""
        ...

    @property
    def may_pause(self) -> bool:
        """Whether there may be nothing to read for a while, and more later; known once open."""
        ...

    @property
    def bytes_expected(self) -> int | None:
        """Size of the whole input as it lies on disk; None where it cannot be known."""
        ...

    @property
    def bytes_read(self) -> int:
        """Bytes of the input behind the reader, what was settled earlier included."""
        ...


class MessageLog(Protocol):
    """What a run remembers of the messages of one queue; the ledger keeps it."""

    @property
    def next_number(self) -> int:
        """The first number that no record of this queue ever had."""
        ...

    @property
    def outstanding(self) -> Mapping[str, Position]:
        """Messages that earlier processes left outstanding, by name."""
        ...

    @property
    def settled(self) -> Mapping[str, float]:
        """Messages that were settled and may come again, by name, with epoch seconds."""
        ...

    def is_idle(self) -> bool:
        """Return whether nothing of the run is under way: all is settled, or held back."""
        ...

    def forget(self, names: Sequence[str]) -> None:
        """Forget settled messages: they will not be delivered again."""
