"""The decision after a failed call: repeat it, give its invocation up, or stop the run. Pure."""

from dataclasses import dataclass
from typing import TypeAlias

from dispatcher.config.retry import RetrySettings
from dispatcher.errors import CallError, OutcomeUnknown, ServiceFailed, Throttled, Transient
from dispatcher.retry.backoff import backoff

_FLOOR = 0.1
"""Calls are spread as widely as can be, but never repeated at once: that would not help."""


@dataclass(slots=True, frozen=True)
class RetryCall:
    """Call again after a pause.

    Attributes:
        after: Seconds to wait.
        look_first: The call may have been accepted: look for its output before repeating it.
    """

    after: float
    look_first: bool


@dataclass(slots=True, frozen=True)
class GiveUp:
    """This invocation will not be accepted; its records become dead letters.

    Attributes:
        look_first: The call may have been accepted: look for its output before giving it up.
    """

    look_first: bool


@dataclass(slots=True, frozen=True)
class Stop:
    """No call is accepted any more: stop the run."""


Decision: TypeAlias = RetryCall | GiveUp | Stop


@dataclass(slots=True, frozen=True, kw_only=True)
class FailedCall:
    """The facts when a call has failed.

    Attributes:
        failures: Failed calls of this invocation so far, this one included; throttling aside.
        pauses: Failed calls of this invocation so far, this one and throttling included.
        silence: Seconds since the first failure of this invocation, or since any call of the run
            succeeded, if that was later.
        others_succeed: Another call succeeded since the first failure of this invocation.
        failed_before: An earlier process failed to send this invocation, and this one either had
            others accepted or has no other left.
        jitter: A random number, 0 <= jitter < 1.
    """

    failures: int
    pauses: int
    silence: float
    others_succeed: bool
    failed_before: bool
    jitter: float


def after_failed_call(error: CallError, call: FailedCall, retry: RetrySettings) -> Decision:
    """Return what to do after ``error``.

    A request that the service calls wrong is given up at once. One that fails again and again while
    others succeed is given up after ``retry.attempts``: it is the record's fault. When none
    succeeds it is the service's fault: wait, and stop the run after ``retry.give_up_after``, so
    that an outage does not turn a backlog into dead letters. Throttling is the service at work, and
    is waited out under the same bound. Where the service itself fails at the only invocation that
    is left, and failed at it for as long in an earlier process, it is the record after all.
    """
    if not isinstance(error, Throttled | Transient | OutcomeUnknown):
        return GiveUp(look_first=False)
    look_first = isinstance(error, OutcomeUnknown)
    if call.silence >= retry.give_up_after:
        is_hopeless = call.failed_before and isinstance(error, ServiceFailed)
        return GiveUp(look_first) if is_hopeless else Stop()
    counts = not isinstance(error, Throttled)
    if counts and call.failures >= retry.attempts and call.others_succeed:
        return GiveUp(look_first)
    after = backoff(call.pauses, base=retry.base, cap=retry.cap, jitter=call.jitter, floor=_FLOOR)
    return RetryCall(after, look_first)
