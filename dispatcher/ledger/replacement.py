"""Replacement of a failed invocation: its next attempt, or the parts of a split. Pure."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from dispatcher.ledger.invocation import Entry, Planned, RecordRef, SpoolRef
from dispatcher.ledger.states import State
from dispatcher.packing.spool_format import spans

SPLIT, PARTS = "apart", "parts"
"""Names of totals: failed invocations that were split, and the invocations of their parts."""


def next_attempt(entry: Entry, planned: Planned, now: float, *, after: float) -> Entry:
    """Return the next attempt for the same records.

    Args:
        entry: The invocation that failed.
        planned: The new one.
        now: Epoch seconds.
        after: Seconds from now before which it must not be sent.
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


def split_records(
    entry: Entry, spooled: bytes, count: int
) -> list[tuple[list[RecordRef], SpoolRef]]:
    """Split the records of an invocation into parts of nearly equal counts, in order.

    Args:
        entry: The invocation; its records lie in the spool.
        spooled: Their bytes in the spool.
        count: Number of parts, at most that of the records.
    """
    ref, record_refs = entry.payload, entry.record_refs
    assert ref is not None, "read a moment ago"
    places = spans(len(spooled), [record_ref.size for record_ref in record_refs])
    parts = []
    for first, last in pairwise(part_bounds(len(record_refs), count)):
        start, end = places[first][0], places[last - 1][1]
        crc = zlib.crc32(memoryview(spooled)[start:end])
        parts.append(
            (record_refs[first:last], SpoolRef(ref.segment, ref.offset + start, end - start, crc))
        )
    return parts


def part_bounds(records: int, parts: int) -> Sequence[int]:
    """Return the index of the first record of each part, and the end of the last one."""
    return [records * part // parts for part in range(parts + 1)]
