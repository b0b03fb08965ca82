"""Snapshot of a ledger and the files beside it: everything that was read, not yet judged."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dispatcher.ledger.store import schema

Row: TypeAlias = tuple[object, ...]

COLUMNS = (
    "number, id, shard, state, content_type, route, size, crc, segment, offset, planned_at, "
    "accepted_at, output, failure, attempt, not_before, encoding, first_attempt, staged, manifest"
)
"""The columns of ``invocation`` in the order of its rows here."""


@dataclass(slots=True, frozen=True)
class SinkFile:
    """Content of a sink's file.

    Attributes:
        size: Bytes of the file.
        lines: Line breaks before the recorded position, or before the end if that comes sooner.
        tail_crc: CRC-32 of the bytes whose checksum was recorded.
    """

    size: int
    lines: int
    tail_crc: int


@dataclass(slots=True, kw_only=True)
class LedgerSnapshot:
    """Content of a ledger and the files beside it, rows as they were read.

    Attributes:
        broken: Complaints of SQLite about its pages, and the tables that it cannot read.
        version: The schema's.
        facts: Name, value.
        tallies: Name, records.
        sinks: Name, position, tail_crc, tail_length.
        streams: Id, name, mark, line.
        ranges: Stream, start, stop, line; in order of stream and start.
        messages: Stream, name, settled_at.
        invocations: ``COLUMNS``.
        last_number: The highest number ever given to an invocation, or None.
        payloads: Defects of the payloads of invocations, by number; none for the sound.
        unknown_files: Names in the spool's folder that are no segments.
        files: Content of the files of the sinks, by their names; None where there is no file, or a
            sentence where it cannot be read.
    """

    broken: list[str] = field(default_factory=list)
    version: int = schema.VERSION
    facts: list[Row] = field(default_factory=list)
    tallies: list[Row] = field(default_factory=list)
    sinks: list[Row] = field(default_factory=list)
    streams: list[Row] = field(default_factory=list)
    ranges: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    invocations: list[Row] = field(default_factory=list)
    last_number: object = None
    payloads: dict[int, Literal["missing", "damaged"]] = field(default_factory=dict)
    unknown_files: list[str] = field(default_factory=list)
    files: dict[str, SinkFile | str | None] = field(default_factory=dict)
