"""What the ledger makes: intents that are durable, and its own view of each invocation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgpack

from dispatcher.config.packing import Encoding
from dispatcher.ledger.states import State
from dispatcher.packing.parcel import Route
from dispatcher.records.record import Key, Position
from dispatcher.retry.outcomes import BACKOFF_CAP_SECONDS


@dataclass(slots=True)
class RecordRef:
    """One record of an invocation, without its bytes.

    Attributes:
        position: The record's identity in this run.
        key: The user's name for it.
        size: Length of its raw bytes, to cut it out of what is kept.
    """

    position: Position
    key: Key
    size: int


@dataclass(slots=True, frozen=True)
class SpoolRef:
    """Where records lie in the spool: segment number, offset, size and CRC-32 of the bytes."""

    segment: int
    offset: int
    size: int
    crc: int


@dataclass(slots=True, frozen=True)
class Planned:
    """An invocation whose intent is durable, and that may therefore be called.

    Only the ledger makes these, after its commit: a sender that holds one cannot be too early.

    Attributes:
        number: The invocation's number in its run.
        id: Its InferenceId.
        shard: The S3OutputPathExtension.
        content_type: MIME type of the payload.
        route: ``inline`` or ``s3``.
        size: Bytes of its records, as they are kept.
        resumed: An earlier process may have sent it: look before sending.
        encoding: How the payload is made of the records.
    """

    number: int
    id: str
    shard: str
    content_type: str
    route: Route
    size: int
    resumed: bool = False
    encoding: Encoding = "json"


@dataclass(slots=True)
class Entry:
    """The ledger's view of an outstanding invocation.

    Attributes:
        planned: What was promised to be called.
        record_refs: Its records, in payload order.
        payload: Where its records lie, or None after they were lost with the power.
        crc: CRC-32 of what is kept, to recognise it when it is read again from the source.
        planned_at: Epoch seconds.
        state: Where it stands.
        accepted_at: Epoch seconds of the 202, or None.
        output: Location of the output object as the service gave it, or None.
        failure: Location of the failure object as the service gave it, or None.
        attempt: Which invocation of its records this is, from 1.
        first_attempt: Which one was the first of just these records together; above 1 for the
            parts of one that was split.
        staged: Where its payload lies in S3, or is about to; None where it is not there.
        not_before: Epoch seconds before which it is not to be called, or None.
        claimed: Somebody is settling it now.
        acks: Receipts of the messages that may be deleted once it is settled.
        looked_at: Epoch seconds of the sweeper's last look, or None.
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
        """Return how many invocations just these records together have had, this one included."""
        return self.attempt - self.first_attempt + 1

    def adopt(self, now: float, *, went_back: bool) -> None:
        """Take over an entry of an earlier process.

        One whose time had not come by now was never called, unless the clock ``went_back`` since;
        nor must anybody wait for a time that it showed before.
        """
        if self.not_before is not None and self.not_before > now:
            self.planned = replace(self.planned, resumed=went_back)
            self.not_before = min(self.not_before, now + BACKOFF_CAP_SECONDS)
        self.planned_at = min(self.planned_at, now)
        if self.accepted_at is not None:
            self.accepted_at = min(self.accepted_at, now)


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
        KeyError, TypeError, ValueError: It is not what ``pack_record_refs`` returned.
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
            raise TypeError(f"a message has no name such as {at.message!r}")
    return record_refs
