"""Verification of a ledger: the defects in its snapshot.

Pure: ``dispatcher.ledger.check.read`` reads. A ledger is sound when the next process of its run
goes on from it as from the last commit; what that process repairs by itself is only noted.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar, get_args

from dispatcher.config.packing import Encoding
from dispatcher.ledger import ids
from dispatcher.ledger.check.ledger_snapshot import LedgerSnapshot, Row, SinkFile
from dispatcher.ledger.invocation import RecordRef, unpack_record_refs
from dispatcher.ledger.states import State
from dispatcher.ledger.store import schema
from dispatcher.packing.spool_format import spans

_Read = TypeVar("_Read")

_UNREADABLE = (KeyError, OverflowError, TypeError, ValueError)
"""Errors of reading a row that is not as it was written."""

_RESTORE = (
    "Restore the ledger with its -wal file, the results and the dead letters from one copy, or "
    "begin a new run with a new ledger and new files."
)
_REPAIRED = "No action is needed: the next run repairs it by itself."


@dataclass(slots=True, frozen=True)
class Defect:
    """A fault of a ledger or of a file beside it.

    Attributes:
        what: The fault, one sentence.
        remedy: The remedy, one sentence.
        is_damage: The run cannot go on from this, or its results would be wrong.
    """

    what: str
    remedy: str = _RESTORE
    is_damage: bool = True


def verify(
    snapshot: LedgerSnapshot, *, results: str | None, dead_letters: str | None
) -> list[Defect]:
    """Return the defects, in the order of the tables; none for a sound ledger.

    Args:
        snapshot: The ledger as it was read.
        results: The name of the results file; None where results do not go to a file.
        dead_letters: Likewise of the dead-letter file.
    """
    defects = [Defect(f"The database is broken: {what}.") for what in snapshot.broken]
    if snapshot.version != schema.VERSION:
        return [*defects, _wrong_version(snapshot.version)]
    verifier = _Verifier(snapshot=snapshot, defects=defects)
    verifier.check_facts()
    verifier.check_streams()
    verifier.check_ranges()
    verifier.check_invocations()
    verifier.check_records()
    verifier.check_messages()
    verifier.check_spool()
    verifier.check_files(results, dead_letters)
    return defects


def _wrong_version(version: int) -> Defect:
    if 0 < version < schema.VERSION:
        return Defect(
            f"The ledger is of schema {version}, not {schema.VERSION}.",
            "Go on with the run, which brings it up to date, and check it again after that.",
            is_damage=False,
        )
    return Defect(
        f"The ledger is of schema {version}, which this version does not know.",
        "Check it with the version of the dispatcher that began the run.",
    )


@dataclass(slots=True, kw_only=True)
class _Verifier:
    """One verification; each check leaves what the later ones need in the private fields."""

    snapshot: LedgerSnapshot
    defects: list[Defect]
    _facts: dict[str, str] = field(default_factory=dict)
    _tallies: dict[str, int] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _marks: dict[str, int] = field(default_factory=dict)
    _ranges: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    _records: list[tuple[int, RecordRef]] = field(default_factory=list)

    def check_facts(self) -> None:
        """Check the facts and tallies."""
        for row in self._rows("fact", self.snapshot.facts, _fact):
            self._facts[row[0]] = row[1]
        for name, records in self._rows("tally", self.snapshot.tallies, _tally):
            self._tallies[name] = records
        for name, parse in _PARSERS.items():
            if name in self._facts:
                try:
                    parse(self._facts[name])
                except ValueError:
                    self._damage(f"The fact {name!r} cannot be read.")
        tag = self._facts.get("tag", "")
        if ids.number_of(tag, ids.invocation_id(tag, 1)) != 1:
            self._damage(f"The run has no tag, or not a valid one: {tag!r}.")
        if self._facts.get("finished") == "yes" and self.snapshot.invocations:
            self._damage(
                f"The run is recorded as finished, with {len(self.snapshot.invocations)} "
                "invocations outstanding."
            )

    def check_streams(self) -> None:
        """Check the marks."""
        for number, name, mark in self._rows("stream", self.snapshot.streams, _stream):
            self._names[number] = name
            self._marks[name] = mark

    def check_ranges(self) -> None:
        """Check that settled ranges lie above the mark, in order, with gaps between them."""

        def read(row: Row) -> tuple[str, int, int, int]:
            stream, start, stop, line = row
            if _natural(start) >= _natural(stop):
                raise ValueError("the range is empty")
            return self._names[_natural(stream)], _natural(start), _natural(stop), _natural(line)

        lines: dict[str, int] = {}
        for name, start, stop, line in self._rows("settled_range", self.snapshot.ranges, read):
            spans = self._ranges.setdefault(name, [])
            end = spans[-1][1] if spans else self._marks[name]
            where = f"The settled range {start} to {stop} of {name}"
            if start < end:
                before = "the range before it" if spans else f"the mark {end}"
                self._damage(f"{where} reaches below {before}.")
            elif start == end:
                before = "the range before it" if spans else f"the mark {end}"
                self._damage(f"{where} adjoins {before} and should be one with it.")
            elif line <= lines.get(name, 0):
                self._damage(f"{where} ends at line {line}, not after the lines before it.")
            lines[name] = line
            spans.append((start, stop))

    def check_invocations(self) -> None:
        """Check the outstanding invocations, and that their names fit their numbers."""
        last = self.snapshot.last_number
        highest = last if isinstance(last, int) else 0
        tag = self._facts.get("tag", "")
        for number, id_, shard, record_refs in self._rows(
            "invocation", self.snapshot.invocations, self._invocation
        ):
            if number > highest:
                self._damage(
                    f"Invocation {number} has a number above {highest}, the highest one given."
                )
            if id_ != ids.invocation_id(tag, number) or shard != ids.shard(tag, number):
                self._damage(
                    f"Invocation {number} has the id {id_} in {shard}, which are not its own."
                )
            self._records += [(number, record_ref) for record_ref in record_refs]

    def _invocation(self, row: Row) -> tuple[int, str, str, list[RecordRef]]:
        number, id_, shard, state, content_type, route, size, crc, segment, offset = row[:10]
        planned_at, accepted_at, output, failure, attempt, not_before = row[10:16]
        encoding, first_attempt, staged, manifest = row[16:]
        for text in (content_type, output or "", failure or "", staged or ""):
            _text(text)
        attempts = (_natural(attempt) - _natural(first_attempt), _natural(first_attempt) - 1)
        for count in (size, crc, segment, offset, *attempts):
            _natural(count)
        if encoding not in get_args(Encoding):
            raise ValueError(f"{encoding!r} is not an encoding")
        for seconds in (planned_at, accepted_at or 0.0, not_before or 0.0):
            if not isinstance(seconds, float):
                raise TypeError(f"{seconds!r} is not a time")
        if route not in ("inline", "s3"):
            raise ValueError(f"{route!r} is not a route")
        if (accepted_at is not None) != (State(_natural(state)) is State.ACCEPTED):
            raise ValueError("its state and its times do not fit")
        if (stored := State(_natural(state))) not in (State.PLANNED, State.ACCEPTED):
            raise ValueError(f"an invocation that is {stored.name.lower()} has no row")
        if not isinstance(manifest, bytes):
            raise TypeError("its manifest is not bytes")
        record_refs = unpack_record_refs(manifest, self._names)
        if not record_refs:
            raise ValueError("it has no records")
        spans(_natural(size), [record_ref.size for record_ref in record_refs])
        return _natural(number), _text(id_), _text(shard), record_refs

    def check_records(self) -> None:
        """Check that no record is outstanding twice, and none both outstanding and settled."""
        ordered = sorted(
            self._records, key=lambda item: (item[1].position.stream, item[1].position.start)
        )
        for (number, record_ref), (other, after) in pairwise(ordered):
            at, next_ = record_ref.position, after.position
            if at.stream == next_.stream and next_.start < at.end:
                self._damage(
                    f"A record at {next_.start} of {at.stream} is outstanding twice, in the "
                    f"invocations {number} and {other}."
                )
        for number, record_ref in ordered:
            at = record_ref.position
            if self._is_settled(record_ref):
                self._damage(
                    f"A record at {at.start} of {at.stream} is settled and outstanding in "
                    f"invocation {number}."
                )

    def _is_settled(self, record_ref: RecordRef) -> bool:
        """Return whether any of a record's span is settled."""
        at = record_ref.position
        if at.start < self._marks[at.stream]:
            return True
        spans = self._ranges.get(at.stream, [])
        after = bisect_left(spans, (at.end,))
        return after > 0 and spans[after - 1][1] > at.start

    def check_messages(self) -> None:
        """Check that no message of a queue is both settled and outstanding."""

        def read(row: Row) -> tuple[str, str]:
            stream, name, settled_at = row
            if not isinstance(settled_at, float):
                raise TypeError(f"{settled_at!r} is not a time")
            return self._names[_natural(stream)], _text(name)

        settled = set(self._rows("settled_message", self.snapshot.messages, read))
        for number, record_ref in self._records:
            at = record_ref.position
            if at.message is not None and (at.stream, at.message) in settled:
                self._damage(
                    f"The message {at.message} of {at.stream} is settled and outstanding in "
                    f"invocation {number}."
                )

    def check_spool(self) -> None:
        """Note unknown files, and lost payloads, which are no damage: the source has them."""
        for number, what in self.snapshot.payloads.items():
            self._note(
                f"The payload of invocation {number} is {what} in the spool.",
                "Keep the source as it is: the next run reads the payload from it again.",
            )
        for name in self.snapshot.unknown_files:
            self._note(
                f"The spool has a file {name}, which does not belong to the run.",
                "Move it away if you know it; the run leaves it alone.",
            )

    def check_files(self, results: str | None, dead_letters: str | None) -> None:
        """Compare the files with what was recorded of them."""
        lines: dict[str, int] = {}
        for name, position, tail_crc in self._rows("sink", self.snapshot.sinks, _sink):
            file = self.snapshot.files.get(name)
            lines[name] = 0
            if isinstance(file, str):
                self._damage(f"{name} cannot be read: {file}.", "Make it readable.")
            elif file is None:
                if position:
                    self._damage(
                        f"{name} is missing, and {position} bytes of it belong to the run.",
                        "Put the file back.",
                    )
            else:
                lines[name] = file.lines
                self._check_file(name, position, tail_crc, file)
        self._count(lines, results, dead_letters)

    def _check_file(self, name: str, position: int, tail_crc: int, file: SinkFile) -> None:
        if file.size < position:
            self._damage(
                f"{name} has {file.size} bytes, of which {position} were recorded.",
                "Put back the file as the run left it.",
            )
        elif file.tail_crc != tail_crc:
            self._damage(
                f"{name} differs from what was written before byte {position}.",
                "Put back the file as the run left it.",
            )
        elif file.size > position:
            self._note(
                f"{name} has {file.size - position} bytes after byte {position}, from a run "
                "that was interrupted.",
                _REPAIRED,
            )

    def _count(self, lines: dict[str, int], results: str | None, dead_letters: str | None) -> None:
        """Compare the numbers of lines with the tallies."""
        completed = self._tallies.get("completed", 0)
        dead = sum(n for name, n in self._tallies.items() if name.startswith("dead:"))
        if lines.keys() <= {results, dead_letters}:
            for name, records in ((results, completed), (dead_letters, dead)):
                if name is not None:
                    self._compare(name, lines.get(name, 0), records)
        elif results is not None and dead_letters is not None:  # forced from one file to another
            self._compare(" and ".join(lines), sum(lines.values()), completed + dead)

    def _compare(self, name: str, lines: int, records: int) -> None:
        if lines != records:
            self._damage(
                f"{name} has {lines} lines for {records} settled records.",
                "Put back the file as the run left it, or begin a new run with a new ledger and "
                "new files.",
            )

    def _rows(self, table: str, rows: list[Row], read: Callable[[Row], _Read]) -> Iterator[_Read]:
        """Yield the rows of a table that can be read, and report the others."""
        for row in rows:
            try:
                yield read(row)
            except _UNREADABLE as error:
                self._damage(f"A row of {table} is damaged ({row[0]!r}: {error}).")

    def _damage(self, what: str, remedy: str = _RESTORE) -> None:
        self.defects.append(Defect(what, remedy))

    def _note(self, what: str, remedy: str) -> None:
        self.defects.append(Defect(what, remedy, is_damage=False))


_PARSERS: dict[str, Callable[[str], object]] = {
    "created": float,
    "terms": json.loads,
    "heads": json.loads,
}


def _fact(row: Row) -> tuple[str, str]:
    return _text(row[0]), _text(row[1])


def _tally(row: Row) -> tuple[str, int]:
    return _text(row[0]), _natural(row[1])


def _stream(row: Row) -> tuple[int, str, int]:
    number, name, mark, line = row
    if (_natural(mark) == 0) != (_natural(line) == 0):
        raise ValueError(f"mark {mark} at line {line}")
    return _natural(number), _text(name), _natural(mark)


def _sink(row: Row) -> tuple[str, int, int]:
    name, position, tail_crc, tail_length = row
    if _natural(tail_length) > _natural(position):
        raise ValueError(f"{tail_length} bytes before byte {position}")
    return _text(name), _natural(position), _natural(tail_crc)


def _natural(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    if value < 0:
        raise ValueError(f"{value} is below zero")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value
