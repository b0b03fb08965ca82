"""How much of an input was read, and what the rest of it may be; pure.

Records are found in content, sizes are known of files as they lie on disk. What a compressed file's
content takes on disk is known at the end of each block that was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.records.record import Item


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of the input a plan is made of.

    Attributes:
        complete: It is the whole input.
        scale: How many times as much the whole input is; 1.0 where complete, None where its size
            cannot be known.
    """

    complete: bool
    scale: float | None


class InputProgress:
    """Follows a source through its input."""

    def __init__(self) -> None:
        self._behind = 0
        self._stream: str | None = None
        self._end = 0
        self._disk = 0
        self._planned = 0
        self._density: tuple[int, int] | None = None

    @property
    def has_density(self) -> bool:
        """Whether it is known what some of the content takes on disk."""
        return self._density is not None

    def follow(self, items: Sequence[Item], disk: int) -> None:
        """Take note of a batch, which is of one stream.

        Args:
            items: The batch, as the source gave it.
            disk: The source's ``bytes_read`` after it.
        """
        if disk != self._disk:
            # A block is only read when everything before it has been handed out.
            if self._content:
                self._density = (self._disk, self._content)
            self._disk = disk
        position = items[-1].position
        if position.stream != self._stream:
            self._behind += self._end
            self._stream = position.stream
        self._end = position.end

    def plan(self, item: Item) -> None:
        """Take note that the latest batch is planned up to this item."""
        self._planned = self._behind + item.position.end

    def extent(self, *, ended: bool, expected: int | None) -> Extent:
        """Return how much was planned.

        Args:
            ended: The input was read to its end.
            expected: Bytes of the whole input as it lies on disk; None where that is not known.
        """
        if ended and self._planned == self._content:
            return Extent(complete=True, scale=1.0)
        if not self._planned or (expected is None and not ended):
            return Extent(complete=False, scale=None)
        if ended:
            return Extent(complete=False, scale=self._content / self._planned)
        assert expected is not None, "returned above"
        disk, content = self._density or (self._disk, self._content)
        # A block ends within a line, so a little more was read than handed out: what is not
        # compressed takes what it is.
        taken = min(1.0, disk / content) * self._planned
        return Extent(complete=False, scale=max(1.0, expected / taken))

    @property
    def _content(self) -> int:
        return self._behind + self._end
