"""One page of ListObjectsV2, as a pure function of the keys."""

from dataclasses import dataclass, field

from dispatcher.emulator.sorted_keys import SortedKeys

_LAST = "\U0010ffff"


@dataclass(slots=True)
class Page:
    """One page of a listing.

    Attributes:
        keys: Keys in order.
        prefixes: Common prefixes in order: what was rolled up at the delimiter.
        resume: Where the next page begins (list after it), or None on the last page.
    """

    keys: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    resume: str | None = None


def list_page(keys: SortedKeys, *, prefix: str, delimiter: str, after: str, limit: int) -> Page:
    """Return the next page.

    Args:
        keys: All keys of the bucket.
        prefix: Only keys that begin with it.
        delimiter: Roll up what shares the text between ``prefix`` and the next delimiter; empty:
            list every key.
        after: Only keys above it.
        limit: Most keys and common prefixes together; at 0 the page is empty and the last.
    """
    page = Page()
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
    found = key.find(delimiter, len(prefix))
    return "" if found < 0 else key[: found + len(delimiter)]
