"""What a source makes: records, and pieces of input that could not become one."""

from dataclasses import dataclass
from typing import TypeAlias

from dispatcher.flow.content import FileSlice

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

    Attributes:
        stream: What is read in order: a file's path, a shard, a partition.
        start: Where the span begins, in the stream's own unit (files: bytes of decoded content).
        end: Where it ends; reading from here yields the next record.
        line: The 1-based number of the record's line at ``end`` (other streams: a running number).
        message: By what a queue names the record when it delivers it again; None elsewhere.
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
class Large:
    """An input item that can be sent, and whose bytes are too many to hold in memory.

    Attributes:
        position: Its identity in this run.
        key: The user's name for it; two records may share one.
        blob: The bytes as read: one JSON value without line breaks, or a file of any kind.
    """

    position: Position
    key: Key
    blob: FileSlice

    @property
    def raw(self) -> bytes:
        """All of its bytes, read into memory."""
        return self.blob.read()

    @property
    def size(self) -> int:
        """Bytes as read."""
        return self.blob.size


@dataclass(slots=True)
class Unreadable:
    """A piece of input that cannot become a record; it ends as a dead letter.

    Attributes:
        position: Its identity in this run.
        key: The record's key where it could be read, else its position.
        raw: The bytes as read; a blob where they are many; empty where they are too many to keep
            (the message says where).
        reason: A stable code: ``bad_utf8``, ``bad_json``, ``missing_key``, ``bad_key``,
            ``too_large``, ``bad_compression``; of files that are records ``missing_file``,
            ``unreadable_file``, ``empty_file``, ``changed_file``.
        message: A sentence with file, line and what is wrong.
    """

    position: Position
    key: Key
    raw: bytes | FileSlice
    reason: str
    message: str


Held: TypeAlias = Record | Unreadable
"""An item whose bytes are in memory."""

Item: TypeAlias = Held | Large
