"""Events of a run: frozen values that rooms report after the fact, and observers take in.

An event stands for a call, a commit or a group, never for a record: an event costs a microsecond,
and a record of a packed run only a few.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from dispatcher.reasons import Reason
from dispatcher.retry.outage_timer import OutageEvent

Phase: TypeAlias = Literal["starting", "running", "draining", "ended"]

CallResult: TypeAlias = Literal[
    "accepted", "throttled", "transient", "unknown", "rejected", "denied"
]
"""Result of an HTTP attempt of InvokeEndpointAsync; ``unknown``: it got no response."""

EventKind: TypeAlias = Literal["matched", "claimed", "closed", "foreign", "malformed", "test"]
"""Kind of a message of the completion queue.

``matched``: it completes an outstanding invocation. ``claimed``: its invocation is being settled
now. ``closed``: its invocation was settled or replaced before. ``foreign``: of another run.
"""

StagingAction: TypeAlias = Literal[
    "uploaded", "found", "shared", "deleted", "deletion_denied", "deletion_failed"
]
"""Action on a payload in S3; ``found``: it was there from before, ``shared``: another payload of
the same content was written a moment ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The ledger is open: the totals of earlier processes of this run.

    Attributes:
        completed: Records with an output.
        dead: Dead letters by reason.
        outstanding_records: Records of the invocations that are outstanding.
        repeated: Invocations that may have reached the service more than once.
        split: Failed invocations that were split.
        parts: Invocations that were made of their parts.
        bytes_expected: Size of the input where it is known.
    """

    completed: int
    dead: Mapping[str, int]
    outstanding_records: int
    repeated: int
    split: int
    parts: int
    bytes_expected: int | None


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """The run entered a phase."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class RecordsRejected:
    """Records were read that cannot be sent."""

    records: int


@dataclass(frozen=True, slots=True)
class InvocationsPlanned:
    """A group of invocations is durable; each count by route."""

    invocations: Counter[str]
    records: Counter[str]
    payload_bytes: Counter[str]


class CallFinished(NamedTuple):
    """An HTTP attempt of InvokeEndpointAsync ended.

    A tuple, because it is the one event of each call: that takes two thirds of the time.

    Attributes:
        result: Its result.
        seconds: From the request to its response.
    """

    result: CallResult
    seconds: float


@dataclass(frozen=True, slots=True)
class InvocationRepeated:
    """An invocation is called again that an earlier call may have reached."""


@dataclass(frozen=True, slots=True)
class InvocationRetried:
    """A failed invocation is replaced by a new one of the same records."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class InvocationSplit:
    """A failed invocation is replaced by new ones of parts of its records."""

    parts: int


@dataclass(frozen=True, slots=True)
class PayloadStaged:
    """Something was done about a payload in S3."""

    action: StagingAction


@dataclass(frozen=True, slots=True)
class CompletionsHeard:
    """Messages of the completion queue were read.

    Attributes:
        kinds: Number of messages of each kind.
        service_seconds: Queue and model time of each that says so.
    """

    kinds: Counter[EventKind]
    service_seconds: list[float]


@dataclass(frozen=True, slots=True)
class SweepRequested:
    """The sweep made a request to S3."""

    operation: Literal["list", "head"]


@dataclass(frozen=True, slots=True)
class CompletionFound:
    """The sweep found a completion before its event was heard."""


@dataclass(frozen=True, slots=True)
class EventOutageBegan:
    """Completion events do not arrive any more."""


@dataclass(frozen=True, slots=True)
class EventOutageEnded:
    """Completion events arrive again."""


@dataclass(frozen=True, slots=True)
class InvocationsSettled:
    """A group of outcomes is durable in the sinks and the ledger.

    Attributes:
        completed: Records with an output.
        dead: Dead letters by reason.
        seconds: From acceptance to settlement, for each invocation that was accepted.
    """

    completed: int
    dead: Counter[str]
    seconds: list[float]


Event: TypeAlias = (
    RunStarted
    | PhaseChanged
    | RecordsRejected
    | InvocationsPlanned
    | CallFinished
    | InvocationRepeated
    | InvocationRetried
    | InvocationSplit
    | PayloadStaged
    | CompletionsHeard
    | SweepRequested
    | CompletionFound
    | EventOutageBegan
    | EventOutageEnded
    | InvocationsSettled
    | OutageEvent
)

Observer: TypeAlias = Callable[[Event], None]
"""Takes in events where they happen: it must be quick, and must not raise."""
