"""An invocation as it is sent (``Planned``) and as the ledger follows it (``Entry``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgpack

from dispatcher.config.packing import Encoding
from dispatcher.ledger.states import State
from dispatcher.packing.parcel import Route
from dispatcher.records.record import Key, Position


@dataclass(slots=True)
class RecordRef:
    """One record of an invocation, without its bytes.

    Attributes:
        position: The record's identity in this run.
        key: The user's name for it.
        size: Length of its raw bytes, to cut it out of the spooled bytes.
    """

    position: Position
    key: Key
    size: int


@dataclass(slots=True, frozen=True)
class SpoolRef:
    """A place in the spool: segment number, offset, size and CRC-32 of the bytes there."""

    segment: int
    offset: int
    size: int
    crc: int


@dataclass(slots=True, frozen=True)
class Planned:
    """An invocation whose intent is durable, and that may therefore be sent.

    Only the ledger makes these, after its commit: a sender that holds one cannot be too early. One
    is made for every invocation, and positional arguments are the quickest.

    Attributes:
        number: The invocation's number in its run.
        id: Its InferenceId.
        shard: The S3OutputPathExtension.
        content_type: MIME type of the payload.
        route: ``inline`` or ``s3``.
        size: Bytes of its records in the spool.
        may_have_been_sent: An earlier process may have sent it: look before sending. The rule
            stands in ``dispatcher.ledger.resumption``.
        encoding: The encoding that turns its records into the payload.
    """

    number: int
    id: str
    shard: str
    content_type: str
    route: Route
    size: int
    may_have_been_sent: bool = False
    encoding: Encoding = "json"


@dataclass(slots=True)
class Entry:
    """The ledger's view of an outstanding invocation.

    Attributes:
        planned: The invocation as it is sent.
        record_refs: Its records, in payload order.
        payload: The place of its records in the spool, or None after a power loss took them.
        crc: CRC-32 of the spooled bytes, to recognise them when the source is read again.
        planned_at: Epoch seconds.
        state: Its state.
        accepted_at: Epoch seconds of the 202, or None.
        output: Location of the output object as the service gave it, or None.
        failure: Location of the failure object as the service gave it, or None.
        attempt: Its place among the invocations of its records, from 1.
        first_attempt: The attempt that was the first of exactly these records together; above 1 for
            the parts of a split invocation.
        staged: Location of its payload in S3, also while it is being written; None without one.
        not_before: Epoch seconds before which it must not be sent, or None.
        claimed: It is being settled now.
        acks: Receipts of the messages that may be deleted once it is settled.
        looked_at: Epoch seconds when the sweeper last looked for it, or None.
    """

    planned: Planned
    record_refs: list[RecordRef]
    payload: SpoolRef | None
    crc: int
    planned_at: float
    state: State = State.PLANNED
    accepted_at: float | None = None
    output: str | None = None
    failure: str | None = None
    attempt: int = 1
    not_before: float | None = None
    claimed: bool = False
    acks: list[str] | None = None
    looked_at: float | None = None
    first_attempt: int = 1
    staged: str | None = None

    @property
    def tries(self) -> int:
        """Number of invocations that exactly these records together have had, with this one."""
        return self.attempt - self.first_attempt + 1


def pack_record_refs(record_refs: Sequence[RecordRef], streams: Mapping[str, int]) -> bytes:
    """Return the manifest of an invocation as stored; ``streams`` numbers the stream names."""
    packed: bytes = msgpack.packb(
        [
            (streams[at.stream], at.start, at.end, at.line, record_ref.key, record_ref.size)
            if at.message is None
            else (
                streams[at.stream],
                at.start,
                at.end,
                at.line,
                record_ref.key,
                record_ref.size,
                at.message,
            )
            for record_ref in record_refs
            for at in (record_ref.position,)
        ]
    )
    return packed


def unpack_record_refs(manifest: bytes, names: dict[int, str]) -> list[RecordRef]:
    """Return the records of a stored manifest; ``names`` is the inverse of ``streams``.

    Raises:
        KeyError, TypeError, ValueError: It was not made by ``pack_record_refs``.
    """
    record_refs = [
        RecordRef(Position(names[stream], start, end, line, *message), key, size)
        for stream, start, end, line, key, size, *message in msgpack.unpackb(manifest)
    ]
    for record_ref in record_refs:
        at = record_ref.position
        if not (0 <= at.start < at.end and at.line > 0 and record_ref.size >= 0):
            raise ValueError(f"there is no record at {at}")
        if not isinstance(at.message, str | None):
            raise TypeError(f"{at.message!r} is not the name of a message")
    return record_refs
