"""Mapping between rows of the table ``invocation`` and entries, both ways."""

from collections.abc import Mapping
from typing import cast, get_args

from dispatcher.config.packing import Encoding
from dispatcher.ledger.invocation import (
    Entry,
    Planned,
    SpoolRef,
    pack_record_refs,
    unpack_record_refs,
)
from dispatcher.ledger.resumption import may_have_been_sent
from dispatcher.ledger.states import State
from dispatcher.packing.parcel import Route

SELECT = """
SELECT number, id, shard, state, content_type, route, size, crc, segment, offset, planned_at,
       accepted_at, output, failure, attempt, first_attempt, not_before, encoding, staged, manifest
FROM invocation ORDER BY number
"""

INSERT = """
INSERT INTO invocation (number, id, shard, state, content_type, route, size, crc, segment, offset,
                        planned_at, attempt, first_attempt, not_before, encoding, staged, manifest)
"""

COLUMNS = 17
"""Number of values that ``row_from_entry`` returns."""

_LOADED_MAY_HAVE_BEEN_SENT = may_have_been_sent(is_loaded=True)


def entry_from_row(row: tuple[object, ...], names: dict[int, str]) -> Entry:
    """Return the invocation in a row of ``SELECT``.

    Args:
        row: The row.
        names: The names of the streams.

    Raises:
        AssertionError, KeyError, TypeError, ValueError: The row is not as it was written.
    """
    number, id_, shard, state, content_type, route, size, crc, segment, offset = row[:10]
    planned_at, accepted_at, output, failure, attempt, first_attempt, not_before = row[10:17]
    encoding, staged, manifest = row[17:]
    ref = SpoolRef(as_int(segment), as_int(offset), as_int(size), as_int(crc))
    assert isinstance(manifest, bytes)
    return Entry(
        Planned(
            as_int(number),
            str(id_),
            str(shard),
            str(content_type),
            _route(route),
            as_int(size),
            may_have_been_sent=_LOADED_MAY_HAVE_BEEN_SENT,
            encoding=_encoding(encoding),
        ),
        unpack_record_refs(manifest, names),
        ref,
        ref.crc,
        as_float(planned_at),
        State(as_int(state)),
        None if accepted_at is None else as_float(accepted_at),
        None if output is None else str(output),
        None if failure is None else str(failure),
        as_int(attempt),
        None if not_before is None else as_float(not_before),
        first_attempt=as_int(first_attempt),
        staged=None if staged is None else str(staged),
    )


def row_from_entry(entry: Entry, streams: Mapping[str, int]) -> tuple[object, ...]:
    """Return the values of ``INSERT``; ``streams`` are the numbers of the streams."""
    planned, ref = entry.planned, entry.payload
    assert ref is not None, "an invocation whose payload is lost is not replaced"
    return (
        planned.number,
        planned.id,
        planned.shard,
        entry.state,
        planned.content_type,
        planned.route,
        ref.size,
        ref.crc,
        ref.segment,
        ref.offset,
        entry.planned_at,
        entry.attempt,
        entry.first_attempt,
        entry.not_before,
        planned.encoding,
        entry.staged,
        pack_record_refs(entry.record_refs, streams),
    )


def as_int(value: object) -> int:
    """Return a value that has to be a whole number."""
    assert isinstance(value, int)
    return value


def as_float(value: object) -> float:
    """Return a value that has to be a fraction."""
    assert isinstance(value, float)
    return value


def _encoding(value: object) -> Encoding:
    if value not in get_args(Encoding):
        raise ValueError(f"there is no encoding {value!r}")
    return cast("Encoding", value)


def _route(value: object) -> Route:
    return "s3" if value == "s3" else "inline"
