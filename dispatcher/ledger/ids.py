"""Names that are made before anything is sent: run tags, invocation ids, output keys.

``<tag>-<number>`` with the number in base 32 of fixed width, so ids sort by age. The output key is
chosen from the id, so that what became of a call can be looked up without having had its answer;
a thousand neighbours share a folder, which is one page of ListObjectsV2.
"""

import secrets
from functools import lru_cache

from dispatcher import limits

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford: no i, l, o, u
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
# What int(text, 32) takes; a letter that is none of ours becomes what it refuses.
_TO_PYTHON = str.maketrans(
    _DIGITS + "ilouABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789abcdefghijklmnopqrstuv" + "!" * 30
)
_TAG_CHARS = 8
_NUMBER_CHARS = 12
_SHARD_CHARS = 8


def make_tag() -> str:
    """Return a new run tag: 40 random bits in 8 characters that are safe in any file name."""
    return "".join(secrets.choice(_DIGITS) for _ in range(_TAG_CHARS))


def invocation_id(tag: str, number: int) -> str:
    """Return the InferenceId of the run's invocation ``number`` (21 characters)."""
    return f"{tag}-{_base32(number >> 10, _NUMBER_CHARS - 2)}{_PAIRS[number & 1023]}"


def number_of(tag: str, invocation: str) -> int | None:
    """Return the number in an id of this run, or None if the id is someone else's."""
    digits = invocation[_TAG_CHARS + 1 :]
    if (
        len(digits) != _NUMBER_CHARS
        or not invocation.startswith(f"{tag}-")
        or not digits.isalnum()
        or not digits.isascii()
    ):
        return None
    try:
        return int(digits.translate(_TO_PYTHON), 32)
    except ValueError:
        return None


def shard(tag: str, number: int) -> str:
    """Return the folder of the output, the S3OutputPathExtension: ``<tag>/<number // 1000>``."""
    return f"{tag}/{_base32(number // limits.S3_LIST_PAGE_KEYS, _SHARD_CHARS)}"


def filename(invocation: str) -> str:
    """Return the name of the output object, the Filename: ``<id>.out``."""
    return f"{invocation}.out"


def failure_filename(invocation: str) -> str:
    """Return the name that the failure object has had in every sample: ``<id>-error.out``."""
    return f"{invocation}-error.out"


@lru_cache(maxsize=64)  # neighbours share all but their last digits
def _base32(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, value = divmod(number, 32)
        digits.append(_DIGITS[value])
    return "".join(reversed(digits))
