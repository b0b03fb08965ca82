"""The fault plan: decisions on faults, call by call and event by event.

Pure: it neither waits nor sends. The services declare their fault points and ask at them; the plan
decides; they act on it, over HTTP or in memory. Each fault has its own random numbers, so the same
seed and the same questions give the same decisions, whatever other faults are switched on.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias, get_args

from dispatcher.config.faults import Fault, FaultSettings
from dispatcher.emulator.faults.corruption import (
    foreign_event,
    malformed_event,
    without_last_output,
)
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.gateway.fault_types import NO_CALL_FAULT, CallFault, CallFaultPoints
from dispatcher.emulator.http.message import Refusal
from dispatcher.emulator.models.model import ModelResponse
from dispatcher.emulator.s3 import fault_types as s3
from dispatcher.emulator.sagemaker import fault_types as sagemaker
from dispatcher.emulator.sagemaker.fault_types import (
    EVENT_ALONE,
    NO_INVOCATION_FAULT,
    InvocationFault,
    Publication,
)
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation
from dispatcher.emulator.sns import fault_types as sns
from dispatcher.emulator.sqs import fault_types as sqs
from dispatcher.emulator.sqs.queue import StoredMessage

FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
"""The names of all faults."""

_OF_CALLS: Final[dict[str, CallFaultPoints]] = {
    "s3": s3.CALLS,
    "sqs": sqs.CALLS,
    "sns": sns.CALLS,
    "sagemaker": sagemaker.CALLS,
}
# Those of one invocation exclude each other: the first that strikes is the one.
_OF_INVOCATIONS: Final[tuple[Fault, ...]] = ("expiry", "silent_expiry", "failure", "failure_only")

Subject: TypeAlias = Call | AcceptedInvocation | StoredMessage
"""Anything that a fault can strike."""


@dataclass(slots=True)
class Injection:
    """One targeted fault.

    Attributes:
        times: Maximum number of strikes; None: no maximum.
        when: Returns whether it strikes the call, invocation or message that it gets.
        hits: How often it has struck.
    """

    times: int | None
    when: Callable[[Any], bool]
    hits: int = 0

    def take(self, subject: Subject) -> bool:
        """Strike if the subject is one of those that are meant; return whether it did."""
        if self.hits == self.times or not self.when(subject):
            return False
        self.hits += 1
        return True


@dataclass(slots=True)
class _Armed:
    """A fault that may strike."""

    share: float
    rng: Random
    injections: list[Injection] = field(default_factory=list)

    def draw(self) -> bool:
        """Return whether chance strikes; draw a number only where chance has a share."""
        return self.share > 0 and self.rng.random() < self.share

    def take(self, subject: Subject) -> bool:
        """Return whether an injection strikes."""
        return any(injection.take(subject) for injection in self.injections)


class FaultPlan:
    """All faults of one emulator.

    Args:
        settings: The share of each fault.
        seed: Equal seeds choose equally.

    Attributes:
        struck: How often each fault has struck.
    """

    def __init__(self, settings: FaultSettings | None = None, seed: int = 0) -> None:
        self._settings = FaultSettings() if settings is None else settings
        self._seed = seed
        self._details: dict[Fault, Random] = {}
        self._armed: dict[Fault, _Armed] = {}
        self.struck: Counter[Fault] = Counter()
        for fault in FAULTS:
            if share := getattr(self._settings, fault):
                self._arm(fault, share)

    def _arm(self, fault: Fault, share: float) -> _Armed:
        rng = Random(f"{self._seed} {fault}")  # noqa: S311 - chosen to repeat
        return self._armed.setdefault(fault, _Armed(share, rng))

    @property
    def armed(self) -> bool:
        """Whether any fault may strike; if not, there is no need to ask further."""
        return bool(self._armed)

    @contextmanager
    def inject(
        self, fault: Fault, *, times: int | None = None, when: Callable[[Any], bool] | None = None
    ) -> Iterator[Injection]:
        """Let a fault strike chosen subjects while the context is entered.

        Args:
            fault: Its name.
            times: Maximum number of strikes; None: no maximum.
            when: Gets what the fault could strike; returns whether it does. The faults of calls
                get the ``Call``, those of outcomes and events the ``AcceptedInvocation``, and
                sqs_redelivery the ``StoredMessage``.

        Yields:
            The injection, which counts its hits.

        Raises:
            ValueError: There is no such fault.
        """
        if fault not in FAULTS:
            raise ValueError(f"there is no fault {fault!r}; there are {', '.join(FAULTS)}")
        injection = Injection(times, when or _everything)
        armed = self._arm(fault, 0.0)
        armed.injections.append(injection)
        try:
            yield injection
        finally:
            # By identity: two injections may be equal.
            armed.injections[:] = [other for other in armed.injections if other is not injection]
            if not armed.share and not armed.injections:
                self._armed.pop(fault, None)

    # Decisions

    def call(self, call: Call) -> CallFault:
        """Decide on one call before the service answers it."""
        if not self._armed:
            return NO_CALL_FAULT
        points = _OF_CALLS[call.service]
        fault = self._first(points.of_operations.get(call.operation, points.faults), call)
        delay = 0.0
        slow = points.delay.get(call.operation)
        if slow is not None and self.strikes(slow, call):
            delay = getattr(self._settings, f"{slow}_delay")
        if fault is None and not delay:
            return NO_CALL_FAULT
        return self._call_fault(fault, points, delay)

    def _call_fault(self, fault: Fault | None, points: CallFaultPoints, delay: float) -> CallFault:
        match fault:
            case None:
                return CallFault(delay=delay)
            case "reset_before":
                return CallFault(reset="before", delay=delay)
            case "reset_after" | "s3_reset" | "sqs_reset":
                return CallFault(reset="after", delay=delay)
            case "throttle":
                refusal = Refusal(400, "ThrottlingException", None)
            case "expired_credentials":
                refusal = points.expired_token
            case "server_error" if self._detail(fault).random() < 0.5:
                refusal = Refusal(500, "InternalFailure", "The emulator plays a server error.")
            case _:
                refusal = Refusal(503, "ServiceUnavailable", "The emulator plays a server error.")
        return CallFault(refusal, delay=delay)

    def entry(self, call: Call) -> Refusal | None:
        """Decide on one entry of an SQS batch: return why it fails, or None."""
        if not self.strikes("sqs_failed_entry", call):
            return None
        return Refusal(500, "InternalError", "The emulator plays a failed entry.")

    def redelivers(self, message: StoredMessage) -> bool:
        """Decide whether a message that was just received is delivered once more."""
        return self.strikes("sqs_redelivery", message)

    def invocation(self, invocation: AcceptedInvocation) -> InvocationFault:
        """Decide on an invocation whose turn has come."""
        if not self._armed:
            return NO_INVOCATION_FAULT
        match self._first(_OF_INVOCATIONS, invocation):
            case "expiry":
                return InvocationFault(expires=True)
            case "silent_expiry":
                return InvocationFault(expires=True, silent=True)
            case "failure":
                return InvocationFault(model_status=self._failure_status("failure"))
            case "failure_only":
                return InvocationFault(
                    model_status=self._failure_status("failure_only"), silent=True
                )
        return NO_INVOCATION_FAULT

    def _failure_status(self, fault: Fault) -> int:
        return 400 if self._detail(fault).random() < 0.5 else 500

    def output(self, invocation: AcceptedInvocation, response: ModelResponse) -> ModelResponse:
        """Return the model's response, or one without its last output."""
        if "wrong_count" not in self._armed:
            return response
        fewer = without_last_output(response)
        if fewer is None or not self.strikes("wrong_count", invocation):
            return response
        return fewer

    def silences(self, invocation: AcceptedInvocation) -> bool:
        """Decide whether the event of a completed invocation is left out."""
        return self.strikes("silent_output", invocation)

    def publication(self, invocation: AcceptedInvocation, event: dict[str, Any]) -> Publication:
        """Decide what is published in place of an event."""
        if not self._armed:
            return EVENT_ALONE
        strays = []
        if self.strikes("foreign_event", invocation):
            strays.append(foreign_event(event, self._detail("foreign_event")))
        if self.strikes("malformed_event", invocation):
            strays.append(malformed_event(event, self._detail("malformed_event")))
        arrives = not self.strikes("lost_event", invocation)
        copies = int(arrives)
        if self.strikes("duplicate_event", invocation, possible=arrives):
            copies += self._settings.duplicate_event_copies
        delays = [0.0] * copies
        if self.strikes("late_event", invocation, possible=arrives):
            delays = [self._settings.late_event_delay] * copies
        if self.strikes("reordered_event", invocation, possible=arrives):
            window = self._settings.reordered_event_window
            uniform = self._detail("reordered_event").uniform
            # Half of the window at least, so that there is time to be overtaken in.
            delays = [delay + uniform(window / 2, window) for delay in delays]
        return Publication(tuple(strays), tuple(delays))

    # Chance and intent

    def strikes(
        self,
        fault: Fault,
        subject: Subject,
        *,
        possible: bool = True,
    ) -> bool:
        """Decide whether a fault strikes.

        Args:
            fault: Its name.
            subject: What it would strike.
            possible: Whether it can have an effect. If not, it does not strike, but its random
                numbers go on all the same, so that it chooses as if it were the only fault.
        """
        armed = self._armed.get(fault)
        if armed is None:
            return False
        drawn = armed.draw()
        if not possible or not (armed.take(subject) or drawn):
            return False
        self.struck[fault] += 1
        return True

    def _first(self, faults: Sequence[Fault], subject: Subject) -> Fault | None:
        first: Fault | None = None
        for fault in faults:
            if self.strikes(fault, subject, possible=first is None):
                first = fault
        return first

    def _detail(self, fault: Fault) -> Random:
        """Return the random numbers for how a fault strikes, not those for whether it does."""
        rng = self._details.get(fault)
        if rng is None:
            seed = f"{self._seed} {fault} detail"
            rng = self._details[fault] = Random(seed)  # noqa: S311 - chosen to repeat
        return rng


def _everything(subject: object) -> bool:
    del subject
    return True
