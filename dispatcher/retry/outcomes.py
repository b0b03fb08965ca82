"""What follows when an invocation has failed: another one, smaller ones, or dead letters. Pure.

An invocation of several records that failed may have failed for one of them. It is split, and
so are the parts that fail, until the bad records are alone. Three parts a time: with one bad record
among ``n`` each round costs three invocations and leaves a third of the records, in all about
``3 log3(n) = 1.89 log2(n)``, against ``2 log2(n)`` for halves, and in fewer rounds, each of which
takes as long as the queue in front of the model. Of 200 records, in parts of at most 67, 23, 8, 3
and 1, one bad one costs 15 at the most. Several bad ones share the first rounds, so they cost less
each.
"""

from dataclasses import dataclass
from typing import TypeAlias

from dispatcher.config.retry import RetrySettings
from dispatcher.retry.backoff import backoff

BACKOFF_CAP_SECONDS = 3_600.0
"""Longest wait before a failed invocation is retried."""

MAX_PARTS = 3
"""Parts that a failed invocation is split into at a time; the reason is above."""

DIVISIBLE = frozenset(
    {
        "model_error",
        "model_server_error",
        "expired",
        "count_mismatch",
        "bad_answer",
        "id_mismatch",
        "output_too_large",
    }
)
"""Reasons that one record can be to blame for. An output that is missing or may not be read is
nobody's fault but the way's."""

FLOOR = 1_000
"""Invocations made of parts that are always allowed, so that small runs can be split, too."""


@dataclass(slots=True, frozen=True)
class RetryInvocation:
    """The records of the invocation are to be invoked anew.

    Attributes:
        reason: Why.
        after: Seconds to wait before.
        parts: Over how many new invocations they are spread.
    """

    reason: str
    after: float
    parts: int = 1


@dataclass(slots=True, frozen=True)
class DeadLetter:
    """Its records are dead letters.

    Attributes:
        note: Why they were not looked at one by one, where they might have been; else "".
    """

    note: str = ""


Next: TypeAlias = RetryInvocation | DeadLetter


def follow(
    reason: str, *, tries: int, records: int, allowed: int, policy: RetrySettings, jitter: float
) -> Next:
    """Return what follows after an invocation has failed.

    The same records are tried again together as often as ``retry.outcomes`` says for the reason,
    and are only then split, each part with tries of its own.

    Args:
        reason: The reason that the dead letters would have.
        tries: Which invocation of just these records together has failed, from 1.
        records: How many they are.
        allowed: Invocations that may still be made of parts, see ``allowance``.
        policy: The section ``retry``.
        jitter: A random number, 0 <= jitter < 1, for the jitter.
    """
    rule = getattr(policy.outcomes, reason, None)
    if rule is not None and tries < rule.attempts:
        after = backoff(tries, base=rule.backoff, cap=BACKOFF_CAP_SECONDS, jitter=jitter)
        return RetryInvocation(reason, after)
    if records == 1 or reason not in DIVISIBLE:
        return DeadLetter()
    parts = min(records, MAX_PARTS)
    if parts <= allowed:
        return RetryInvocation(reason, 0.0, parts)
    why = (
        "as retry.bisection is 0"
        if policy.bisection == 0
        else f"as the share in retry.bisection, {policy.bisection:g}, is used up; raise it, or "
        "look at packing.framing and packing.answer if no invocation of several records completes"
    )
    return DeadLetter(f"this invocation of {records} records was not split, {why}")


def allowance(share: float, *, read: int, made: int) -> int:
    """Return how many invocations may still be made of parts.

    Args:
        share: ``retry.bisection``; 0 never takes apart.
        read: Records that the run has read.
        made: Invocations that it has made of parts, over restarts.
    """
    return max(0, int(share * read) + FLOOR - made) if share else 0
