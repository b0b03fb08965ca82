"""From an invocation that failed to the new ones that its records go on in. Pure."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from dispatcher.ledger.invocation import Entry, Planned, RecordRef, SpoolRef
from dispatcher.ledger.states import State
from dispatcher.packing.spool_format import spans

SPLIT, PARTS = "apart", "parts"
"""What is counted: failed invocations that were split, and the ones made of their parts."""


def renewed(entry: Entry, planned: Planned, now: float, *, after: float) -> Entry:
    """Return a new attempt for the same records.

    Args:
        entry: The invocation that failed.
        planned: The new one.
        now: Epoch seconds.
        after: Seconds from now before which it is not to be called.
    """
    return replace(
        entry,
        planned=planned,
        planned_at=now,
        state=State.PLANNED,
        accepted_at=None,
        output=None,
        failure=None,
        attempt=entry.attempt + 1,
        not_before=now + after,
        claimed=False,
        acks=None,
        looked_at=None,
    )


def parts_of(entry: Entry, kept: bytes, count: int) -> list[tuple[list[RecordRef], SpoolRef]]:
    """Cut the records of an invocation into parts that are as equal as can be, in order.

    Args:
        entry: The invocation; its records lie in the spool.
        kept: What is kept of them.
        count: Number of parts, at most that of the records.
    """
    ref, record_refs = entry.payload, entry.record_refs
    assert ref is not None, "read a moment ago"
    where = spans(len(kept), [record_ref.size for record_ref in record_refs])
    parts = []
    for first, last in pairwise(bounds(len(record_refs), count)):
        start, end = where[first][0], where[last - 1][1]
        crc = zlib.crc32(memoryview(kept)[start:end])
        parts.append(
            (record_refs[first:last], SpoolRef(ref.segment, ref.offset + start, end - start, crc))
        )
    return parts


def bounds(records: int, parts: int) -> Sequence[int]:
    """Return where parts as equal as can be begin, and where the last one ends."""
    return [records * part // parts for part in range(parts + 1)]
