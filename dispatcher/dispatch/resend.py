"""The resend queue: invocations of earlier processes, and retries that wait for their time."""

import heapq
from collections.abc import Callable
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from dispatcher.flow.channel import send_eagerly
from dispatcher.ledger.invocation import Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.states import State

_DRAIN_SECONDS = 5.0
"""Longest wait of resumed invocations for the events of the meantime, which may show that they are
over; then they are looked for in S3 instead."""


@dataclass(slots=True)
class ResendQueue:
    """Hands invocations to the senders when they are due.

    It holds outstanding invocations only, whose number ``limits.outstanding`` bounds.

    Attributes:
        ledger: Knows which invocations wait.
        now: Epoch seconds.
    """

    ledger: Ledger
    now: Callable[[], float]
    _: KW_ONLY
    _due: list[tuple[float, int, Planned]] = field(default_factory=list)
    _lost: set[int] = field(default_factory=set)
    _changed: anyio.Event = field(default_factory=anyio.Event)
    _is_stopped: bool = False
    _is_closed: bool = False

    def __post_init__(self) -> None:
        """Take over what earlier processes planned, and may not have sent."""
        for planned in self.ledger.resumed:
            entry = self.ledger.find(planned.number)
            if entry is not None and entry.payload is None:
                self._lost.add(planned.number)
            else:
                self.add(planned)

    def add(self, planned: Planned) -> None:
        """Send an invocation when it is due; after a stop it is left to the next process."""
        self._lost.discard(planned.number)
        entry = self.ledger.find(planned.number)
        if entry is None or entry.state is not State.PLANNED:
            return
        if self._is_stopped:
            self.ledger.leave_to_next_process([planned.number])
            return
        heapq.heappush(self._due, (entry.not_before or 0.0, planned.number, planned))
        self._change()

    def stop(self) -> None:
        """Send nothing that still waits; the next process goes on with it."""
        self._is_stopped = True
        lost = [entry.planned.number for entry in self.ledger.without_payload()]
        self.ledger.leave_to_next_process([*(number for _, number, _ in self._due), *lost])
        self._due.clear()

    def close(self) -> None:
        """End ``run``: nothing is outstanding that could be retried."""
        self._is_closed = True
        self._change()

    async def run(self, intents: MemoryObjectSendStream[Planned], drained: anyio.Event) -> None:
        """Hand over what is due until ``close``.

        Args:
            intents: To the senders.
            drained: Set when the events that waited at the start have been heard.
        """
        async with intents:
            if self._due or self._lost:
                with anyio.move_on_after(_DRAIN_SECONDS):
                    await drained.wait()
            while not self._is_closed:
                wait = self._due[0][0] - self.now() if self._due else None
                if wait is None or wait > 0:
                    with anyio.move_on_after(wait):
                        await self._changed.wait()
                else:
                    with suppress(anyio.BrokenResourceError):  # the senders are gone: a stop
                        await send_eagerly(intents, heapq.heappop(self._due)[2])

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
