"""The fault plan: decides, call by call and event by event, what goes wrong.

Pure: it neither waits nor sends. Who asks it does what it says, over HTTP or in memory. Each fault
has a stream of randomness of its own, so the same seed and the same questions have the same
answers, whatever other faults are switched on.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal, get_args

from dispatcher.config.faults import Fault, FaultSettings
from dispatcher.emulator.faults.corruption import foreign_event, malformed_event, one_output_fewer
from dispatcher.emulator.gateway.call import INVOKE, Call
from dispatcher.emulator.http.message import Refusal
from dispatcher.emulator.models.model import ModelResponse
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation
from dispatcher.emulator.sqs.queue import StoredMessage

FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
"""The names of all faults."""

# Those of one call or invocation exclude each other: the first that strikes is the one.
_OF_INVOKE: Final[tuple[Fault, ...]] = (
    "expired_credentials",
    "throttle",
    "server_error",
    "reset_before",
    "reset_after",
)
_OF_SERVICES: Final[dict[str, tuple[Fault, ...]]] = {
    "s3": ("expired_credentials", "s3_error", "s3_reset"),
    "sqs": ("expired_credentials", "sqs_error", "sqs_reset"),
}
_OF_OTHERS: Final[tuple[Fault, ...]] = ("expired_credentials",)
_OF_INVOCATIONS: Final[tuple[Fault, ...]] = ("expiry", "silent_expiry", "failure", "failure_only")


@dataclass(slots=True, frozen=True)
class Verdict:
    """What becomes of one call.

    Attributes:
        refusal: The answer instead of what was asked for; nothing is done.
        reset: Whether the connection is reset without an answer, before or after it is done.
        delay: How long the answer, or the reset, waits, in seconds.
    """

    refusal: Refusal | None = None
    reset: Literal["before", "after"] | None = None
    delay: float = 0.0


PROCEED: Final = Verdict()
"""Nothing goes wrong."""


@dataclass(slots=True, frozen=True)
class Fate:
    """What becomes of one accepted invocation whose turn has come.

    Attributes:
        expires: The model never runs.
        fails: The HTTP status that the model answers with, or None.
        silent: No event is published.
    """

    expires: bool = False
    fails: int | None = None
    silent: bool = False


_AS_USUAL: Final = Fate()


@dataclass(slots=True, frozen=True)
class Publication:
    """What is published in place of one event.

    Attributes:
        strays: Messages that come before it.
        delays: One number for each copy: how much later it arrives, in seconds. Lost: none.
    """

    strays: tuple[str, ...] = ()
    delays: tuple[float, ...] = (0.0,)


_ONCE: Final = Publication()


@dataclass(slots=True)
class Injection:
    """One targeted fault.

    Attributes:
        times: How often it strikes at most; None: without end.
        when: Whether it strikes the call, invocation or message it is shown.
        hits: How often it has struck.
    """

    times: int | None
    when: Callable[[Any], bool]
    hits: int = 0

    def take(self, subject: Call | AcceptedInvocation | StoredMessage) -> bool:
        """Strike, if this is one of those that are meant."""
        if self.hits == self.times or not self.when(subject):
            return False
        self.hits += 1
        return True


@dataclass(slots=True)
class _Armed:
    """A fault that may strike."""

    share: float
    random: Random
    injections: list[Injection] = field(default_factory=list)

    def draw(self) -> bool:
        """Return whether chance strikes; asks the stream only where chance has a share."""
        return self.share > 0 and self.random.random() < self.share

    def take(self, subject: Call | AcceptedInvocation | StoredMessage) -> bool:
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
        random = Random(f"{self._seed} {fault}")  # noqa: S311 - chosen to repeat
        return self._armed.setdefault(fault, _Armed(share, random))

    @property
    def armed(self) -> bool:
        """Whether any fault may strike; if not, nothing else need be asked."""
        return bool(self._armed)

    @contextmanager
    def inject(
        self, fault: Fault, *, times: int | None = None, when: Callable[[Any], bool] | None = None
    ) -> Iterator[Injection]:
        """Let a fault strike what is meant, as long as the context is entered.

        Args:
            fault: Its name.
            times: How often it strikes at most; None: whenever it can.
            when: Shown what the fault could strike; returns whether it does. A call's faults are
                shown the ``Call``, those of outcomes and events the ``AcceptedInvocation``, and
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
            armed.injections[:] = [one for one in armed.injections if one is not injection]
            if not armed.share and not armed.injections:
                self._armed.pop(fault, None)

    # Decisions

    def call(self, call: Call) -> Verdict:
        """Decide on one call, before the service answers it."""
        if not self._armed:
            return PROCEED
        if call.operation != INVOKE:
            fault = self._first(_OF_SERVICES.get(call.service, _OF_OTHERS), call)
            return PROCEED if fault is None else self._verdict(fault, call, 0.0)
        fault = self._first(_OF_INVOKE, call)
        delay = 0.0
        if self.strikes("slow_accept", call):
            delay = self._settings.slow_accept_delay
        if fault is None and not delay:
            return PROCEED
        return self._verdict(fault, call, delay)

    def _verdict(self, fault: Fault | None, call: Call, delay: float) -> Verdict:
        match fault:
            case None:
                return Verdict(delay=delay)
            case "reset_before":
                return Verdict(reset="before", delay=delay)
            case "reset_after" | "s3_reset" | "sqs_reset":
                return Verdict(reset="after", delay=delay)
            case "throttle":
                refusal = Refusal(400, "ThrottlingException", None)
            case "expired_credentials":
                refusal = _expired_token(call.service)
            case "server_error" if self._detail(fault).random() < 0.5:
                refusal = Refusal(500, "InternalFailure", "The emulator plays a server error.")
            case _:
                refusal = Refusal(503, "ServiceUnavailable", "The emulator plays a server error.")
        return Verdict(refusal, delay=delay)

    def entry(self, call: Call) -> Refusal | None:
        """Decide on one entry of an SQS batch: return why it fails, or None."""
        if not self.strikes("sqs_failed_entry", call):
            return None
        return Refusal(500, "InternalError", "The emulator plays a failed entry.")

    def redelivers(self, message: StoredMessage) -> bool:
        """Decide whether a message that was just received is delivered once more."""
        return self.strikes("sqs_redelivery", message)

    def fate(self, invocation: AcceptedInvocation) -> Fate:
        """Decide on an invocation whose turn has come."""
        if not self._armed:
            return _AS_USUAL
        match self._first(_OF_INVOCATIONS, invocation):
            case "expiry":
                return Fate(expires=True)
            case "silent_expiry":
                return Fate(expires=True, silent=True)
            case "failure":
                return Fate(fails=self._failure_status("failure"))
            case "failure_only":
                return Fate(fails=self._failure_status("failure_only"), silent=True)
        return _AS_USUAL

    def _failure_status(self, fault: Fault) -> int:
        return 400 if self._detail(fault).random() < 0.5 else 500

    def answer(self, invocation: AcceptedInvocation, answer: ModelResponse) -> ModelResponse:
        """Return the model's answer, or one with an output less."""
        if "wrong_count" not in self._armed:
            return answer
        fewer = one_output_fewer(answer)
        if fewer is None or not self.strikes("wrong_count", invocation):
            return answer
        return fewer

    def silences(self, invocation: AcceptedInvocation) -> bool:
        """Decide whether the event of a completed invocation is left out."""
        return self.strikes("silent_output", invocation)

    def publication(self, invocation: AcceptedInvocation, event: dict[str, Any]) -> Publication:
        """Decide what is published in place of an event."""
        if not self._armed:
            return _ONCE
        strays = []
        if self.strikes("foreign_event", invocation):
            strays.append(foreign_event(event, self._detail("foreign_event")))
        if self.strikes("malformed_event", invocation):
            strays.append(malformed_event(event, self._detail("malformed_event")))
        there = not self.strikes("lost_event", invocation)
        copies = int(there)
        if self.strikes("duplicate_event", invocation, possible=there):
            copies += self._settings.duplicate_event_copies
        delays = [0.0] * copies
        if self.strikes("late_event", invocation, possible=there):
            delays = [self._settings.late_event_delay] * copies
        if self.strikes("reordered_event", invocation, possible=there):
            window = self._settings.reordered_event_window
            uniform = self._detail("reordered_event").uniform
            # Half of the window at least, so that there is time to be overtaken in.
            delays = [delay + uniform(window / 2, window) for delay in delays]
        return Publication(tuple(strays), tuple(delays))

    # Chance and intent

    def strikes(
        self,
        fault: Fault,
        subject: Call | AcceptedInvocation | StoredMessage,
        *,
        possible: bool = True,
    ) -> bool:
        """Decide whether a fault strikes.

        Args:
            fault: Its name.
            subject: What it would strike.
            possible: Whether it can have an effect. If not, it does not strike, and its stream
                goes on all the same, so that it chooses as if it were alone.
        """
        armed = self._armed.get(fault)
        if armed is None:
            return False
        drawn = armed.draw()
        if not possible or not (armed.take(subject) or drawn):
            return False
        self.struck[fault] += 1
        return True

    def _first(self, faults: Sequence[Fault], subject: Call | AcceptedInvocation) -> Fault | None:
        first: Fault | None = None
        for fault in faults:
            if self.strikes(fault, subject, possible=first is None):
                first = fault
        return first

    def _detail(self, fault: Fault) -> Random:
        """Return the randomness of how a fault strikes; apart from that of whether it does."""
        random = self._details.get(fault)
        if random is None:
            seed = f"{self._seed} {fault} detail"
            random = self._details[fault] = Random(seed)  # noqa: S311 - chosen to repeat
        return random


def _everything(subject: object) -> bool:
    del subject
    return True


def _expired_token(service: str) -> Refusal:
    if service == "s3":
        return Refusal(400, "ExpiredToken", "The provided token has expired.")
    text = "The security token included in the request is expired"
    return Refusal(403, "ExpiredToken" if service == "sns" else "ExpiredTokenException", text)
