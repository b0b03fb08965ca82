"""What a settled record is: the result the user wanted, or the reason why there is none."""

from dataclasses import dataclass
from typing import Self

from dispatcher.flow.content import FileSlice
from dispatcher.packing.parcel import Route
from dispatcher.reasons import Reason, Status
from dispatcher.records.record import Key, Position


@dataclass(slots=True)
class Meta:
    """How a record travelled; times are seconds since the epoch.

    Attributes:
        invocation_id: The invocation that settled it.
        route: How its payload was sent.
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
        """Return it as a result line tells it.

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
    """A record with its own output or error.

    Attributes:
        position: The record's identity in this run.
        key: The user's name for the record.
        status: ``completed``, or why it is a dead letter.
        output: The answer's bytes that belong to this record, verbatim; None for the dead.
        output_type: MIME type of ``output`` as the container declared it, None where it did not.
        reason: Why it is dead; None for the completed.
        message: A sentence for the dead, empty for the completed.
        attempts: Invocations that were made for it; 0 where it was never sent.
        input: The record's bytes as read, where the sink or the dead letter shows them.
        meta: How the record travelled; None where it was never sent.
        is_json: The output is known to be one JSON value, because the answer was read as such.
        location: Where the whole answer lies in S3; None where that is not known.
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
