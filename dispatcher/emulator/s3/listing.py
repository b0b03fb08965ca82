"""The keys of a bucket in order, and one page of ListObjectsV2 as a pure function of them."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

_BLOCK_KEYS = 1000
_LAST = "\U0010ffff"


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


@dataclass(slots=True)
class ListingPage:
    """One page of a listing.

    Attributes:
        keys: Keys in order.
        prefixes: Common prefixes in order: keys rolled up at the delimiter.
        resume: The key after which the next page begins, or None on the last page.
    """

    keys: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    resume: str | None = None


def list_page(
    keys: SortedKeys, *, prefix: str, delimiter: str, after: str, limit: int
) -> ListingPage:
    """Return the next page.

    Args:
        keys: All keys of the bucket.
        prefix: Only keys that begin with it.
        delimiter: Roll up keys that share the text between ``prefix`` and the next delimiter;
            empty: list every key.
        after: Only keys above it.
        limit: Maximum keys and common prefixes together; at 0 the page is empty and the last.
    """
    page = ListingPage()
    if limit == 0:
        return page
    at, inclusive = (after, False) if after >= prefix else (prefix, True)
    if delimiter and after.startswith(prefix) and delimiter in after[len(prefix) :]:
        # The page before ended with a common prefix, or the caller starts within one that S3
        # would list again only if it sorts above ``after``; resume tokens skip all of it.
        rolled = _rolled_up(after, prefix, delimiter)
        if rolled == after:
            at = after + _LAST
    last = ""
    seek = True
    while seek:
        seek = False
        for key in keys.after(at, inclusive=inclusive):
            if not key.startswith(prefix):
                return page
            rolled = _rolled_up(key, prefix, delimiter) if delimiter else ""
            if rolled and rolled == last:
                continue
            if len(page.keys) + len(page.prefixes) == limit:
                page.resume = last
                return page
            if rolled:
                page.prefixes.append(rolled)
                last = rolled
                # Jump over everything below the common prefix instead of walking through it.
                at, inclusive, seek = rolled + _LAST, False, True
                break
            page.keys.append(key)
            last = key
    return page


def _rolled_up(key: str, prefix: str, delimiter: str) -> str:
    at = key.find(delimiter, len(prefix))
    return "" if at < 0 else key[: at + len(delimiter)]
