"""Records, their positions and keys, and input that could not become a record."""

from dataclasses import dataclass
from typing import TypeAlias

from dispatcher.flow.content import FileSlice
from dispatcher.reasons import Reason

Key: TypeAlias = str | int
"""The user's name for a record; travels to the result unchanged."""

KEY_CHARS = 1024
"""Longest key that is text, in characters: keys stay in the ledger and in every result line."""


@dataclass(slots=True, eq=True)
class Position:
    """The identity of a record within a run.

    Positions of one stream are half-open spans that adjoin each other: ``start`` is the ``end`` of
    the record before it (input that holds no record, such as blank lines, belongs to the record
    after it). So what is settled can be merged into ranges, and the first gap is where to resume.
    Made for every record, for which positional arguments are the quickest.

    Attributes:
        stream: What is read in order: a file's path, a shard, a partition.
        start: Where the span begins, in the stream's own unit (files: bytes of decoded content).
        end: Where it ends; reading from here yields the next record.
        line: The 1-based number of the record's line at ``end`` (other streams: a running number).
        message: The name under which a queue delivers the record again; None elsewhere.
    """

    stream: str
    start: int
    end: int
    line: int
    message: str | None = None


@dataclass(slots=True)
class Record:
    """One input item that can be sent.

    Attributes:
        position: Its identity in this run.
        key: The user's name for it; two records may share one.
        raw: The bytes as read: one JSON value without line breaks, or a file of any kind.
    """

    position: Position
    key: Key
    raw: bytes

    @property
    def size(self) -> int:
        """Bytes as read."""
        return len(self.raw)


@dataclass(slots=True)
class LargeRecord:
    """An input item that can be sent, with too many bytes to hold in memory.

    Attributes:
        position: Its identity in this run.
        key: The user's name for it; two records may share one.
        content: The bytes as read: one JSON value without line breaks, or a file of any kind.
    """

    position: Position
    key: Key
    content: FileSlice

    @property
    def raw(self) -> bytes:
        """All of its bytes, read into memory."""
        return self.content.read()

    @property
    def size(self) -> int:
        """Bytes as read."""
        return self.content.size


@dataclass(slots=True)
class Unreadable:
    """A piece of input that cannot become a record; it ends as a dead letter.

    Attributes:
        position: Its identity in this run.
        key: The record's key where it could be read, else its position.
        raw: The bytes as read; a slice of a file where they are many; empty where they are too
            many to keep (the message names the place in the input).
        reason: The reason of the dead letter.
        message: A sentence with file, line and what is wrong.
    """

    position: Position
    key: Key
    raw: bytes | FileSlice
    reason: Reason
    message: str


Held: TypeAlias = Record | Unreadable
"""An item whose bytes are in memory."""

Item: TypeAlias = Held | LargeRecord
