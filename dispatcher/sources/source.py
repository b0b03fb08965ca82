"""What every source promises: records in order, each with a position that reading resumes at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from dispatcher.sources.record import Item


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
    The positions of a stream's items adjoin each other, so any item's end is a mark.
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

    async def aclose(self) -> None:
        """Release files; harmless when repeated, and when ``open`` failed."""
        ...

    @property
    def bytes_expected(self) -> int | None:
        """Size of the whole input as it lies on disk; None where it cannot be known."""
        ...

    @property
    def bytes_read(self) -> int:
        """Bytes of the input behind the reader, what was settled earlier included."""
        ...
