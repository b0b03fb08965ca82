"""Held refusals: refused invocations wait here until it is known whose fault the refusals are."""

from dataclasses import dataclass, field

from anyio.streams.memory import MemoryObjectSendStream

from dispatcher.errors import RunStopped
from dispatcher.flow.budget import MemoryBudget, Reservation
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.reasons import Reason

_MAX_REFUSED = 10
"""So many refused requests, and none accepted, mean that the records are not to blame."""

_NEVER_SENT = frozenset({Reason.NOT_ENCODABLE, Reason.NO_STAGING})
"""The record alone is to blame: it was never offered to the service."""


@dataclass(slots=True)
class RefusedInvocation:
    """An invocation that is claimed, and will not be accepted.

    Attributes:
        entry: The invocation.
        reason: The reason of its records' dead letters.
        message: Their sentence.
    """

    entry: Entry
    reason: Reason
    message: str


@dataclass(slots=True, kw_only=True)
class HeldRefusals:
    """Turns refused invocations into dead letters, or into the end of the run.

    While the service has accepted nothing of a run, refused invocations are held back: what is
    wrong for all of them (an endpoint that is not asynchronous, a content type it does not take)
    must not turn the input into dead letters.

    Attributes:
        ledger: Knows whether anything was accepted; leaves what is held back to the next process.
        memory: Bounds the dead letters on their way.
        max_outstanding: ``limits.outstanding``: if it is below ten, as many refusals stop the run.
        is_stopping: A signal has closed the head; what is undecided is left to the next process.
    """

    ledger: Ledger
    memory: MemoryBudget
    max_outstanding: int
    is_stopping: bool = False
    _held: list[RefusedInvocation] = field(default_factory=list)

    @property
    def is_holding(self) -> bool:
        """Whether an invocation is held back."""
        return bool(self._held)

    async def judge(
        self,
        refused: RefusedInvocation,
        settlements: MemoryObjectSendStream[list[Settlement]],
    ) -> None:
        """Settle an invocation that never left; hold back any other until something is accepted."""
        if refused.reason in _NEVER_SENT:
            await self._settle(refused, settlements)
        else:
            self._held.append(refused)
            # The end of the run does not wait for it until it is known whose fault it is.
            self.ledger.leave_to_next_process([refused.entry.planned.number])

    async def review(self, settlements: MemoryObjectSendStream[list[Settlement]]) -> None:
        """Settle what is held back once something was accepted.

        Raises:
            RunStopped: Nothing was, and too much was refused.
        """
        if self.ledger.has_accepted:
            await self._release(settlements)
        elif len(self._held) >= min(_MAX_REFUSED, self.max_outstanding):
            raise RunStopped(
                f"the first {len(self._held)} requests were all refused, and none was accepted: "
                f"{self._held[-1].message}. Nothing became a dead letter. Correct the "
                "configuration or the endpoint, then run the same command again"
            )

    async def conclude(self, settlements: MemoryObjectSendStream[list[Settlement]]) -> None:
        """Decide on what is held back when nothing else is outstanding.

        The records are to blame; but if nothing was ever accepted and the run is stopped, the next
        process tries them again: the cause may be corrected by then.
        """
        if self.is_stopping and not self.ledger.has_accepted:
            for refused in self._held:
                self.ledger.release(refused.entry)
            self._held.clear()
        await self._release(settlements)

    async def _release(self, settlements: MemoryObjectSendStream[list[Settlement]]) -> None:
        while self._held:
            refused = self._held.pop(0)
            self.ledger.reclaim(refused.entry.planned.number)
            await self._settle(refused, settlements)

    async def _settle(
        self,
        refused: RefusedInvocation,
        settlements: MemoryObjectSendStream[list[Settlement]],
    ) -> None:
        reservation = Reservation(self.memory)
        try:
            await reservation.acquire(refused.entry.planned.size)
            settlement = Settlement(refused.entry, await self._dead_letters(refused), reservation)
            await settlements.send([settlement])
        except BaseException:
            reservation.release()
            raise

    async def _dead_letters(self, refused: RefusedInvocation) -> list[Outcome]:
        entry = refused.entry
        return [
            Outcome.dead(
                ref.position,
                ref.key,
                refused.reason,
                refused.message,
                attempts=entry.attempt,
                input=raw,
            )
            for ref, raw in zip(entry.record_refs, await self.ledger.raws(entry), strict=True)
        ]
