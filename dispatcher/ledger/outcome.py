"""Outcomes of records, with an output or a reason, and the settlement that closes an invocation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from dispatcher.flow.budget import Reservation
from dispatcher.flow.content import FileSlice
from dispatcher.ledger.invocation import Entry
from dispatcher.packing.parcel import Route
from dispatcher.reasons import Reason, Status
from dispatcher.records.record import Key, Position


@dataclass(slots=True)
class Meta:
    """The history of a record; times are seconds since the epoch.

    Attributes:
        invocation_id: The invocation that settled it.
        route: The route of its payload.
        planned: When the invocation was made durable.
        accepted: When the service answered 202; None where the completion overtook it.
        settled: When the completion was learned of.
    """

    invocation_id: str
    route: Route
    planned: float
    accepted: float | None
    settled: float

    def document(self, attempts: int) -> dict[str, object]:
        """Return the ``meta`` object of a result line.

        Args:
            attempts: Invocations that were made for the record.
        """
        return {
            "invocation_id": self.invocation_id,
            "route": self.route,
            "attempts": attempts,
            "planned": self.planned,
            "accepted": self.accepted,
            "settled": self.settled,
        }


@dataclass(slots=True)
class Outcome:
    """A record with its own output or error; made for every record, so its fields are positional.

    Attributes:
        position: The record's identity in this run.
        key: The user's name for the record.
        status: ``completed``, or the status of its dead letter.
        output: The bytes of the output that belong to this record, verbatim; None for the dead.
        output_type: MIME type of ``output`` as the container declared it, None where it did not.
        reason: Why it is dead; None for the completed.
        message: A sentence for the dead, empty for the completed.
        attempts: Invocations that were made for it; 0 where it was never sent.
        input: The record's bytes as read, where the sink or the dead letter shows them.
        meta: The record's history; None where it was never sent.
        is_json: The output is known to be one JSON value, because it was split as JSON.
        location: Location of the whole output in S3; None where that is not known.
    """

    position: Position
    key: Key
    status: Status
    output: bytes | None
    output_type: str | None
    reason: Reason | None = None
    message: str = ""
    attempts: int = 0
    input: bytes | FileSlice | None = None
    meta: Meta | None = None
    is_json: bool = False
    location: str | None = None

    @classmethod
    def dead(
        cls,
        position: Position,
        key: Key,
        reason: Reason,
        message: str,
        *,
        attempts: int = 0,
        input: bytes | FileSlice | None = None,  # noqa: A002 - the field's name
    ) -> Self:
        """Return a dead letter: its status goes with its reason."""
        return cls(
            position,
            key,
            reason.status,
            None,
            None,
            reason=reason,
            message=message,
            attempts=attempts,
            input=input,
        )


@dataclass(slots=True)
class Settlement:
    """The outcomes of one invocation, or of records that never were in one.

    Attributes:
        entry: The invocation that is over, or None.
        outcomes: One for each of its records, at least one.
        reservation: Holds the memory that the outcomes take, until they are written.
        size: Bytes of the outputs and inputs that the outcomes carry in memory.
    """

    entry: Entry | None
    outcomes: list[Outcome]
    reservation: Reservation | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        """Compute the size once, for all who keep to a bound."""
        self.size = sum(
            len(o.output or b"") + (0 if isinstance(o.input, FileSlice) else len(o.input or b""))
            for o in self.outcomes
        )


def tallies_of(settlements: Sequence[Settlement]) -> Counter[str]:
    """Return the numbers of settled records by name: ``completed`` and ``dead:<reason>``."""
    tallies: Counter[str] = Counter()
    for settlement in settlements:
        dead = [f"dead:{o.reason}" for o in settlement.outcomes if o.status != "completed"]
        tallies.update(dead)
        if completed := len(settlement.outcomes) - len(dead):
            tallies["completed"] += completed
    return tallies


def messages_of(settlements: Sequence[Settlement]) -> dict[str, list[str]]:
    """Return the messages of settled records by stream; none where the source is not a queue."""
    names: dict[str, list[str]] = {}
    for settlement in settlements:
        for at in (outcome.position for outcome in settlement.outcomes):
            if at.message is None:
                break  # one source, one kind
            names.setdefault(at.stream, []).append(at.message)
    return names
