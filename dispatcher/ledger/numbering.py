"""Gives invocations their numbers, and with them their names."""

import secrets

from dispatcher import limits
from dispatcher.config.packing import Encoding
from dispatcher.ledger import ids
from dispatcher.ledger.invocation import Planned
from dispatcher.packing.parcel import Route

_GAP, _GAPS = limits.S3_LIST_PAGE_KEYS, 2**30
"""A restart skips a random number of shards; of 60 bits, 40 at the most."""


class InvocationNumbers:
    """The numbers of a run.

    Args:
        tag: The run's tag.
        last: The highest number ever given.
        is_resumed: An earlier process may have given numbers that this ledger does not know: it may
            have been restored from an older copy. None must be given twice, or a late event of the
            first invocation would settle the second.

    Attributes:
        last: The highest number given.
    """

    def __init__(self, tag: str, last: int, *, is_resumed: bool) -> None:
        self._tag = tag
        self.last = last + _GAP * secrets.randbelow(_GAPS) * is_resumed

    def planned(self, content_type: str, route: Route, size: int, encoding: Encoding) -> Planned:
        """Return the next invocation."""
        self.last += 1
        number, tag = self.last, self._tag
        invocation, shard = ids.invocation_id(tag, number), ids.shard(tag, number)
        return Planned(number, invocation, shard, content_type, route, size, encoding=encoding)

    def next_attempt(self, old: Planned, size: int) -> Planned:
        """Return the next invocation, for records of an old one."""
        return self.planned(old.content_type, old.route, size, old.encoding)
