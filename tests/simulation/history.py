"""The history of a simulated run, in order: the checker looks at nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Sink: TypeAlias = Literal["results", "dead"]
Answer: TypeAlias = Literal[
    "accepted", "throttled", "transient", "unknown", "rejected", "denied", "cancelled"
]
Ended: TypeAlias = Literal["completed", "failed", "garbled", "expired", "vanished"]


@dataclass(slots=True, frozen=True)
class Began:
    """A process began."""


@dataclass(slots=True, frozen=True)
class Found:
    """The ledger was opened: the ids that are outstanding in it, as they lay on disk."""

    ids: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Died:
    """A process was killed, or the power was lost, at a moment."""

    moment: str
    power: bool


@dataclass(slots=True, frozen=True)
class Stopped:
    """A process ended by itself: ``finished``, ``signal``, or the error that stopped it."""

    how: str
    is_defect: bool = False


@dataclass(slots=True, frozen=True)
class Signalled:
    """A process was asked to stop."""


@dataclass(slots=True, frozen=True)
class Committed:
    """A transaction of the ledger is durable.

    Attributes:
        planned: Invocations that are new in it, with the numbers of their records.
        accepted: Invocations that are noted as accepted in it.
        closed: Invocations that are gone from it.
        marks: How far the results and the dead letters are part of the run now.
        outstanding: Invocations in it now.
        base_known: Where outputs go is known in it.
    """

    planned: tuple[tuple[str, tuple[int, ...]], ...]
    accepted: tuple[str, ...]
    closed: tuple[str, ...]
    marks: tuple[int, int]
    outstanding: int
    base_known: bool


@dataclass(slots=True, frozen=True)
class Called:
    """A call left: id, key of its output, checksum of its payload; bytes inline, or a location."""

    id: str
    key: str
    crc: int
    inline: int | None
    location: str | None


@dataclass(slots=True, frozen=True)
class Answered:
    """A call came back."""

    id: str
    answer: Answer


@dataclass(slots=True, frozen=True)
class Unstaged:
    """A payload of these records could not be written to S3 or looked at, as its caller knows.

    Of no records: its run is unknown.
    """

    records: tuple[int, ...]


@dataclass(slots=True, frozen=True)
class Missed:
    """The payload of an invocation was not in S3 when its call left, or when the model read it."""

    id: str
    by: Literal["call", "model"]


@dataclass(slots=True, frozen=True)
class Removed:
    """A staged object was deleted, whether or not its caller heard of it."""

    location: str


@dataclass(slots=True, frozen=True)
class Undeleted:
    """A staged object could not be deleted, as its caller knows."""

    location: str


@dataclass(slots=True, frozen=True)
class Taken:
    """The service accepted a call, whether or not its caller heard of it."""

    id: str
    records: tuple[int, ...]


@dataclass(slots=True, frozen=True)
class Came:
    """The service is done with an invocation."""

    id: str
    how: Ended
    records: tuple[int, ...]


@dataclass(slots=True, frozen=True)
class Looked:
    """An output key was looked at, or a folder (which ends with a slash)."""

    key: str


@dataclass(slots=True, frozen=True)
class Received:
    """A message was received: of an invocation, or of none."""

    token: str
    id: str | None


@dataclass(slots=True, frozen=True)
class Polled:
    """A receive was answered with so many messages."""

    messages: int


@dataclass(slots=True, frozen=True)
class Deleted:
    """A message was asked to be deleted."""

    token: str
    id: str | None


@dataclass(slots=True, frozen=True)
class Delivered:
    """A message of the source was received: that of a record."""

    record: int


@dataclass(slots=True, frozen=True)
class Dropped:
    """A message of the source was asked to be deleted: that of a record."""

    record: int


@dataclass(slots=True, frozen=True)
class Line:
    """A line of a sink.

    Attributes:
        record: Number of the record it is about; -1 if it is about none.
        end: Bytes of the sink up to its end.
        verdict: ``right``, what is wrong with it, or the reason of a dead letter.
        attempts: Invocations that it says were made for the record; None if it does not say.
    """

    record: int
    end: int
    verdict: str
    attempts: int | None = None


@dataclass(slots=True, frozen=True)
class Wrote:
    """Lines were written to a sink from a position on."""

    sink: Sink
    start: int
    lines: tuple[Line, ...]


@dataclass(slots=True, frozen=True)
class Sent:
    """Lines came to a sink that is a queue, whether or not the sender heard of it."""

    sink: Sink
    lines: tuple[Line, ...]


@dataclass(slots=True, frozen=True)
class Synced:
    """A sink survives a power loss up to a size."""

    sink: Sink
    size: int


@dataclass(slots=True, frozen=True)
class Cut:
    """A sink was cut to a size: by the power, or by the run."""

    sink: Sink
    size: int


@dataclass(slots=True, frozen=True)
class Final:
    """The state at the end.

    Attributes:
        results: Lines of the results file.
        dead: Lines of the dead letters.
        repeated: How many invocations the run says may have been called more than once.
        unread: Records whose messages are still in the source.
        leftovers: Whatever the ledger or the meter still holds or says wrongly, as sentences.
        parts: How many invocations the run says were made of parts of failed ones.
        staged: Where payloads are left in S3.
        discarded: Which of them the ledger says are still to be deleted.
    """

    results: tuple[Line, ...]
    dead: tuple[Line, ...]
    repeated: int
    unread: tuple[int, ...]
    leftovers: tuple[str, ...]
    parts: int = 0
    staged: tuple[str, ...] = ()
    discarded: tuple[str, ...] = ()


Fact: TypeAlias = (
    Began
    | Found
    | Died
    | Stopped
    | Signalled
    | Committed
    | Called
    | Answered
    | Unstaged
    | Missed
    | Removed
    | Undeleted
    | Taken
    | Came
    | Looked
    | Received
    | Polled
    | Deleted
    | Delivered
    | Dropped
    | Wrote
    | Sent
    | Synced
    | Cut
    | Final
)


@dataclass(slots=True, frozen=True)
class Event:
    """A fact with its time (seconds since the beginning) and process (0, 1, ...)."""

    at: float
    life: int
    fact: Fact

    def __str__(self) -> str:
        return f"{self.at:10.3f} #{self.life} {self.fact}"


@dataclass(slots=True, frozen=True)
class Terms:
    """The terms of a run that the checker has to know.

    Attributes:
        records: Numbers of all records.
        refusals: Reasons for which records have to be refused before they are sent, by number.
        concurrency: Most calls on the wire.
        outstanding: Most invocations without an outcome.
        durable: The run promises to survive a power loss.
        deadline: Seconds after acceptance from which on an invocation may count as expired.
        drain: Seconds that a process may take to end when it is asked to.
        patience: Seconds of failed calls after which a resumed one may be given up.
        attempts: Failed calls after which an invocation may be given up.
        chosen: Output keys are chosen before a call.
        listens: There is a queue of events.
        queues: The sinks that are queues, and may hold a line more than once.
        bisection: Invocations of parts that are allowed, a share of the records, beside ``floor``;
            0 allows none.
        floor: So many are always allowed.
        deletes: The run deletes staged payloads that it does not need any more.
        alike: The record whose number the content of a record bears, for all that bear another's.
    """

    records: frozenset[int]
    refusals: dict[int, str]
    concurrency: int
    outstanding: int
    durable: bool
    deadline: float
    attempts: int
    drain: float
    patience: float
    chosen: bool
    listens: bool
    queues: frozenset[Sink]
    bisection: float = 0.1
    floor: int = 1_000
    deletes: bool = True
    alike: dict[int, int] = field(default_factory=dict)

    def content(self, records: Iterable[int]) -> tuple[int, ...]:
        """Return the numbers that the contents of records bear: what a payload shows of them."""
        return tuple(self.alike.get(record, record) for record in records)
