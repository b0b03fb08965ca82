"""A sorted set of keys that stays fast with millions: blocks of bounded length."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

_BLOCK_KEYS = 1000


class SortedKeys:
    """Unique texts in order of their code points, which is also S3's order (UTF-8 bytes).

    Adding, removing and seeking cost about the square root of the number of keys, and little.
    """

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []
        self._lasts: list[str] = []

    def add(self, key: str) -> None:
        """Add a key that is not there yet."""
        if not self._blocks:
            self._blocks.append([key])
            self._lasts.append(key)
            return
        at = min(bisect_left(self._lasts, key), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, key)
        self._lasts[at] = block[-1]
        if len(block) > 2 * _BLOCK_KEYS:
            self._blocks.insert(at + 1, block[_BLOCK_KEYS:])
            del block[_BLOCK_KEYS:]
            self._lasts[at] = block[-1]
            self._lasts.insert(at + 1, self._blocks[at + 1][-1])

    def remove(self, key: str) -> None:
        """Remove a key that is there."""
        at = bisect_left(self._lasts, key)
        block = self._blocks[at]
        del block[bisect_left(block, key)]
        if block:
            self._lasts[at] = block[-1]
        else:
            del self._blocks[at]
            del self._lasts[at]

    def after(self, key: str, *, inclusive: bool = False) -> Iterator[str]:
        """Yield the keys above ``key`` in order, with itself where ``inclusive``."""
        at = bisect_left(self._lasts, key)
        if at == len(self._blocks):
            return
        seek = bisect_left if inclusive else bisect_right
        yield from self._blocks[at][seek(self._blocks[at], key) :]
        for block in self._blocks[at + 1 :]:
            yield from block
