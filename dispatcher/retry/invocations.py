"""The decision after a failed invocation: retry it, split it, or dead letters. Pure.

An invocation of several records that failed may have failed for one of them. It is split, and so
are the parts that fail, until each bad record is alone. Three parts a time: with one bad record
among ``n`` each round costs three invocations and leaves a third of the records, in all about
``3 log3(n) = 1.89 log2(n)``, against ``2 log2(n)`` for halves, and in fewer rounds, each of which
takes as long as the queue in front of the model. Of 200 records, in parts of at most 67, 23, 8, 3
and 1, one bad one costs 15 at the most. Several bad ones share the first rounds, so they cost less
each.
"""

from dataclasses import dataclass
from typing import TypeAlias

from dispatcher.config.retry import InvocationRetrySettings, RetrySettings
from dispatcher.reasons import Reason
from dispatcher.retry.backoff import backoff

BACKOFF_CAP_SECONDS = 3_600.0
"""Longest wait before a failed invocation is retried."""

MAX_PARTS = 3
"""Parts that a failed invocation is split into at a time; the reason is above."""

FREE_PARTS = 1_000
"""Invocations made of parts that are always allowed, so that small runs can be split, too."""


@dataclass(slots=True, frozen=True)
class RetryInvocation:
    """The records of the invocation are invoked again.

    Attributes:
        reason: Why.
        after: Seconds to wait before.
        parts: Number of new invocations that they are spread over.
    """

    reason: Reason
    after: float
    parts: int = 1


@dataclass(slots=True, frozen=True)
class DeadLetter:
    """Its records are dead letters.

    Attributes:
        note: The reason why it was not split, where it might have been; else "".
    """

    note: str = ""


Next: TypeAlias = RetryInvocation | DeadLetter


@dataclass(slots=True)
class SplitBudget:
    """Invocations that may still be made of parts, over all processes of a run.

    Attributes:
        share: ``retry.bisection``: parts for each record read; 0 never splits.
        read: Records that the run has read.
        made: Invocations that it has made of parts.
    """

    share: float
    read: int = 0
    made: int = 0

    @property
    def left(self) -> int:
        """Return how many more may be made."""
        if not self.share:
            return 0
        return max(0, int(self.share * self.read) + FREE_PARTS - self.made)


def after_failed_invocation(
    reason: Reason,
    *,
    tries: int,
    records: int,
    budget: SplitBudget,
    retry: RetrySettings,
    jitter: float,
) -> Next:
    """Return what follows after an invocation has failed.

    The same records are tried again together as often as ``retry.outcomes`` says for the reason,
    and are only then split, each part with tries of its own.

    Args:
        reason: The reason that the dead letters would have.
        tries: Number of the failed invocation among those of just these records together, from 1.
        records: Number of these records.
        budget: Bounds the invocations that are made of parts.
        retry: The section ``retry``.
        jitter: A random number, 0 <= jitter < 1.
    """
    rule = rule_of(reason, retry)
    if rule is not None and tries < rule.attempts:
        wait = backoff(tries, base=rule.backoff, cap=BACKOFF_CAP_SECONDS, jitter=jitter)
        return RetryInvocation(reason, wait)
    if records == 1 or not reason.can_split:
        return DeadLetter()
    parts = min(records, MAX_PARTS)
    if parts <= budget.left:
        return RetryInvocation(reason, 0.0, parts)
    why = (
        "as retry.bisection is 0"
        if budget.share == 0
        else f"as the share in retry.bisection, {budget.share:g}, is used up; raise it, or look at "
        "packing.framing and packing.answer if no invocation of several records completes"
    )
    return DeadLetter(f"this invocation of {records} records was not split, {why}")


def rule_of(reason: Reason, retry: RetrySettings) -> InvocationRetrySettings | None:
    """Return the section of ``retry.outcomes`` for a reason; None where it is never retried."""
    if reason not in type(retry.outcomes).model_fields:
        return None
    rule: InvocationRetrySettings = getattr(retry.outcomes, reason)
    return rule
