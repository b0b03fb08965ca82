"""Parse durations and sizes as people write them: ``30s``, ``1h30m``, ``128kB``, ``64MiB``."""

import re
from typing import Annotated

from pydantic import BeforeValidator

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?b)", re.IGNORECASE)


def parse_duration(value: object) -> float:
    """Return a duration in seconds.

    Args:
        value: A number of seconds, or text such as ``250ms``, ``30s``, ``1h30m``.

    Raises:
        ValueError: The value is not a duration, or is negative.
    """
    if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        return sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(value))
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    raise ValueError(f"{value!r} is not a duration; write it like 250ms, 30s, 15m or 1h30m")


def parse_size(value: object) -> int:
    """Return a size in bytes.

    Args:
        value: A number of bytes, or text such as ``128kB`` (1000) or ``64MiB`` (1024).

    Raises:
        ValueError: The value is not a size, is negative, or is not a whole number of bytes.
    """
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * _BYTES[match[2].lower()]
        if size.is_integer():
            return int(size)
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"{value!r} is not a size; write it like 500B, 128kB, 64MB or 1GiB")


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str | float)]
"""Seconds as a float; accepts ``30s``."""

Size = Annotated[int, BeforeValidator(parse_size, json_schema_input_type=str | int)]
"""Bytes as an int; accepts ``128kB``."""
