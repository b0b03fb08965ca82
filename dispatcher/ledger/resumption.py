"""Takeover of an earlier process's invocations: which of them may have been sent before a crash.

Pure. ``may_have_been_sent`` is the rule. ``dispatcher.ledger.store.rows`` applies it to each row
that is loaded, ``resume`` corrects it by the clock, and ``dispatcher.ledger.ids`` applies it to
each new invocation. The result travels in ``Planned.may_have_been_sent``; ``dispatch`` reads it
there, and looks before it sends.
"""

from collections.abc import Iterable
from dataclasses import replace

from dispatcher.ledger.invocation import Entry
from dispatcher.retry.invocations import BACKOFF_CAP_SECONDS


def may_have_been_sent(*, is_loaded: bool, is_before_its_time: bool = False) -> bool:
    """Return whether an earlier process may have called the service for an invocation.

    An invocation loaded from the store in state ``planned`` may have been sent: its intent is
    durable before the call, and the 202 is durable only a moment after it. The exception is one
    whose ``not_before`` had not come when this process opened the ledger: nothing sends an
    invocation before its time. An invocation numbered by this process was never sent by another.

    Args:
        is_loaded: An earlier process planned it.
        is_before_its_time: Its ``not_before`` has not come, by a clock that did not go back.
    """
    return is_loaded and not is_before_its_time


def resume(entries: Iterable[Entry], now: float) -> None:
    """Adjust the invocations of earlier processes to the clock of this one.

    Where the clock went back since one of them was stored, no ``not_before`` proves that its
    invocation was never sent. No time may lie in the future, or a deadline would come too late, and
    no wait may be longer than the longest backoff.

    Args:
        entries: As loaded from the store.
        now: Epoch seconds.
    """
    entries = list(entries)
    stored = [at for e in entries for at in (e.planned_at, e.accepted_at) if at is not None]
    clock_went_back = now < max(stored, default=now)
    for entry in entries:
        if entry.not_before is not None and entry.not_before > now:
            may_be = may_have_been_sent(is_loaded=True, is_before_its_time=not clock_went_back)
            entry.planned = replace(entry.planned, may_have_been_sent=may_be)
            entry.not_before = min(entry.not_before, now + BACKOFF_CAP_SECONDS)
        entry.planned_at = min(entry.planned_at, now)
        if entry.accepted_at is not None:
            entry.accepted_at = min(entry.accepted_at, now)
