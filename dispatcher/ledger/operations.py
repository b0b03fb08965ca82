"""Operations: the changes that are written to a ledger, in order, in groups committed together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from dispatcher.flow.content import FileSlice
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.watermark import Change


@dataclass(slots=True, frozen=True)
class SinkMark:
    """The part of a sink's file that belongs to the run.

    Attributes:
        position: Bytes of the file that belong to settled records.
        tail_crc: CRC-32 of the last bytes before ``position``, to recognise the file.
        tail_length: Number of those bytes, at most 4,096.
    """

    position: int
    tail_crc: int
    tail_length: int


@dataclass(slots=True)
class Plan:
    """New invocations; the store spools their records and notes the places in the entries."""

    entries: list[Entry]
    spooled: Sequence[bytes | FileSlice]


@dataclass(slots=True)
class Accept:
    """An invocation was accepted by the service."""

    number: int
    accepted_at: float
    output: str | None
    failure: str | None


@dataclass(slots=True)
class Restore:
    """Records that a power loss took have been read from the source again."""

    entry: Entry
    spooled: bytes | FileSlice


@dataclass(slots=True)
class Stage:
    """The payload of an invocation is about to be put into S3.

    Attributes:
        number: The invocation's.
        location: The object's.
        discarded: Objects that no invocation uses any more.
    """

    number: int
    location: str
    discarded: Sequence[str] = ()


@dataclass(slots=True)
class Deleted:
    """A discarded object has been deleted."""

    location: str


@dataclass(slots=True)
class Replace:
    """An invocation is over, and its records go on in new ones, at the same places in the spool.

    Attributes:
        old: The invocation.
        new: The new ones.
        discarded: Objects that no invocation uses any more.
    """

    old: Entry
    new: Sequence[Entry]
    discarded: Sequence[str] = ()


@dataclass(slots=True)
class Settle:
    """Records have their outcomes in the sinks, up to the given positions.

    Attributes:
        entries: Invocations that are over.
        changes: Changes of the marks and ranges, by stream.
        sinks: The parts of the sinks' files that belong to the run now.
        tallies: Records to add to the totals: ``completed`` and ``dead:<reason>``.
        messages: Names of the messages that these records came in, by stream.
        at: Epoch seconds.
        discarded: Objects that no invocation uses any more.
    """

    entries: list[Entry]
    changes: dict[str, Change]
    sinks: dict[str, SinkMark]
    tallies: Counter[str] = field(default_factory=Counter)
    messages: dict[str, list[str]] = field(default_factory=dict)
    at: float = 0.0
    discarded: Sequence[str] = ()


@dataclass(slots=True)
class Forget:
    """Messages of settled records will not be delivered again: their names, by stream."""

    messages: dict[str, list[str]]


@dataclass(slots=True)
class Count:
    """An addition to a total over all processes of a run."""

    name: str
    more: int = 1


@dataclass(slots=True)
class Remember:
    """A named fact about the run."""

    name: str
    value: str


Operation: TypeAlias = (
    Plan | Accept | Restore | Stage | Deleted | Replace | Settle | Forget | Count | Remember
)
