"""The Range header of a GET."""

import re

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the half-open span that a Range header asks for.

    Args:
        header: Its value.
        size: Size of the object in bytes.

    Returns:
        ``(start, stop)``, or None where the header is to be ignored (several ranges, another
        unit), as HTTP wants it.

    Raises:
        ValueError: The range lies outside of the object.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, stop = max(size - int(match[2]), 0), size
    else:
        start = int(match[1])
        stop = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= size or start >= stop:
        raise ValueError(header)
    return start, stop
