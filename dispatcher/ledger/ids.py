"""Identifiers chosen before a call: run tags, invocation numbers and ids, output keys.

An id is ``<tag>-<number>`` with the number in base 32 of fixed width, so ids sort by age. The
output key follows from the id, so that the fate of a call can be looked up without its response. A
thousand neighbours share a folder, which is one page of ListObjectsV2.
"""

import secrets
from functools import lru_cache

from dispatcher import limits
from dispatcher.config.packing import Encoding
from dispatcher.ledger.invocation import Planned
from dispatcher.ledger.resumption import may_have_been_sent
from dispatcher.packing.parcel import Route

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford: no i, l, o, u
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
# The digits that int(text, 32) reads; a letter outside our alphabet becomes one that it refuses.
_TO_PYTHON = str.maketrans(
    _DIGITS + "ilouABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789abcdefghijklmnopqrstuv" + "!" * 30
)
_TAG_CHARS = 8
_NUMBER_CHARS = 12
_SHARD_CHARS = 8

_GAP, _MAX_GAPS = limits.S3_LIST_PAGE_KEYS, 2**30
"""A restart skips a random number of shards; of 60 bits, 40 at the most."""

_NEW_MAY_HAVE_BEEN_SENT = may_have_been_sent(is_loaded=False)


class InvocationNumbers:
    """The numbers of a run's invocations, each given once.

    Args:
        tag: The run's tag.
        last: The highest number ever given.
        is_resumed: An earlier process may have given numbers that this ledger does not know: it may
            have been restored from an older copy. No number may be given twice, or a late event of
            the first invocation would settle the second.

    Attributes:
        last: The highest number given.
    """

    def __init__(self, tag: str, last: int, *, is_resumed: bool) -> None:
        self._tag = tag
        self.last = last + _GAP * secrets.randbelow(_MAX_GAPS) * is_resumed

    def planned(self, content_type: str, route: Route, size: int, encoding: Encoding) -> Planned:
        """Return the next invocation."""
        self.last += 1
        number, tag = self.last, self._tag
        return Planned(
            number,
            invocation_id(tag, number),
            shard(tag, number),
            content_type,
            route,
            size,
            may_have_been_sent=_NEW_MAY_HAVE_BEEN_SENT,
            encoding=encoding,
        )

    def next_attempt(self, old: Planned, size: int) -> Planned:
        """Return the next invocation, for records of an old one."""
        return self.planned(old.content_type, old.route, size, old.encoding)


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
