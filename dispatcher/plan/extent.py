"""The share of an input that was read, and an estimate of the rest; pure.

Positions of records count decoded content, sizes are those of files on disk. The disk size of a
compressed file's content is known at the end of each block read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.records.record import Item


@dataclass(frozen=True, slots=True)
class Extent:
    """The part of the input that a plan covers.

    Attributes:
        complete: It is the whole input.
        scale: The size of the whole input as a multiple of it; 1.0 where complete, None where its
            size cannot be known.
    """

    complete: bool
    scale: float | None


class InputProgress:
    """Progress of a source through its input, in content and on disk."""

    def __init__(self) -> None:
        self._behind = 0
        self._stream: str | None = None
        self._end = 0
        self._disk = 0
        self._planned = 0
        self._density: tuple[int, int] | None = None

    @property
    def has_density(self) -> bool:
        """True if the disk size of some of the content is known."""
        return self._density is not None

    def follow(self, items: Sequence[Item], disk: int) -> None:
        """Record the progress to the end of a batch, which is of one stream.

        Args:
            items: The batch, as the source returned it.
            disk: The source's ``bytes_read`` after it.
        """
        if disk != self._disk:
            # The source reads a block only after everything before it was returned.
            if self._content:
                self._density = (self._disk, self._content)
            self._disk = disk
        position = items[-1].position
        if position.stream != self._stream:
            self._behind += self._end
            self._stream = position.stream
        self._end = position.end

    def plan(self, item: Item) -> None:
        """Record that the latest batch is planned up to this item."""
        self._planned = self._behind + item.position.end

    def extent(self, *, ended: bool, expected: int | None) -> Extent:
        """Return the part of the input that was planned.

        Args:
            ended: The input was read to its end.
            expected: Size of the whole input on disk, in bytes; None where it is not known.
        """
        if ended and self._planned == self._content:
            return Extent(complete=True, scale=1.0)
        if not self._planned or (expected is None and not ended):
            return Extent(complete=False, scale=None)
        if ended:
            return Extent(complete=False, scale=self._content / self._planned)
        assert expected is not None, "returned above"
        disk, content = self._density or (self._disk, self._content)
        # A block ends within a line, so a little more was read than returned; the ratio of content
        # that is not compressed is 1 at most.
        taken = min(1.0, disk / content) * self._planned
        return Extent(complete=False, scale=max(1.0, expected / taken))

    @property
    def _content(self) -> int:
        return self._behind + self._end
