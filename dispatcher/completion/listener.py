"""The listener: events from the completion queue claim the invocations that they complete."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher import failpoints, limits
from dispatcher.aws.requests import SqsMessage
from dispatcher.completion.event import Completion, NoCompletion, parse
from dispatcher.completion.event_matching import is_useless, match
from dispatcher.completion.joiner import Claimed
from dispatcher.errors import CallError
from dispatcher.flow.channel import send_eagerly
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.observe.events import CompletionsHeard, Observer
from dispatcher.retry.outage_timer import OutageTimer

_PAUSE_SECONDS = 1.0
"""Wait after a failed call to the queue; the sweep goes on meanwhile."""

_DRAIN_SECONDS = 1
"""Wait at an empty queue before the events that waited at the start count as heard. Not 0: a short
poll asks only some of the queue's servers."""

_GATHER_SECONDS = 0.05
"""Wait of events, and of their receipts, for others to share a call with: a call costs the same
for ten. There is no wait where ten are there already."""


class EventQueue(Protocol):
    """The queue that events arrive in."""

    async def receive(self, *, wait: int | None = None) -> list[SqsMessage]:
        """Wait for messages, at most ``wait`` seconds."""

    async def delete(self, receipts: Sequence[str]) -> object:
        """Delete up to ten messages."""


@dataclass(slots=True, kw_only=True)
class Listener:
    """The listener loops of a run; ``run`` is one loop, until cancelled.

    Attributes:
        ledger: Has the outstanding invocations.
        queue: The completion queue.
        foreign: ``completion.foreign``: events of others are left in the queue, or deleted.
        outage: Ends the run when the queue does not respond.
        observe: Gets the events.
        heard: Called for each event of this run, with its invocation before that is claimed.
        drained: Set when the events that waited at the start have been heard.
    """

    ledger: Ledger
    queue: EventQueue
    foreign: Literal["leave", "delete"]
    outage: OutageTimer
    observe: Observer
    heard: Callable[[Entry | None], None]
    drained: anyio.Event

    async def run(
        self,
        claims: MemoryObjectSendStream[Claimed],
        receipts: MemoryObjectSendStream[list[str]],
    ) -> None:
        """Receive events for as long as the run goes on.

        Raises:
            Denied: The queue does not exist or may not be read.
            RunStopped: AWS has not responded for too long.
        """
        async with claims, receipts:
            while True:
                try:
                    messages = await self._receive()
                except CallError as error:
                    self.outage.failed(error)
                    await anyio.sleep(_PAUSE_SECONDS)
                    continue
                self.outage.succeeded()
                failpoints.reach("completion.received")
                claimed, useless = self._take(messages)
                if not messages:
                    self.drained.set()
                for claim in claimed:
                    await send_eagerly(claims, claim)
                failpoints.reach("completion.claimed")
                if useless:
                    await receipts.send(useless)
                if len(messages) < limits.SQS_BATCH_ENTRIES:
                    await anyio.sleep(_GATHER_SECONDS)

    async def _receive(self) -> list[SqsMessage]:
        # A full-length poll of an empty queue would keep resumed invocations waiting.
        return await self.queue.receive(wait=None if self.drained.is_set() else _DRAIN_SECONDS)

    def _take(self, messages: Sequence[SqsMessage]) -> tuple[list[Claimed], list[str]]:
        """Claim what messages complete, at once; return that, and receipts of useless messages."""
        claimed: list[Claimed] = []
        useless: list[str] = []
        event = CompletionsHeard(Counter(), [])
        for message in messages:
            parts = parse(message.body)
            claims = [c for part in parts if (c := self._claim(part, message.receipt, event))]
            if not claims and is_useless([match(p, self.ledger) for p in parts], self.foreign):
                useless.append(message.receipt)
            claimed += claims
        if messages:
            self.observe(event)
        return claimed, useless

    def _claim(
        self, part: Completion | NoCompletion, receipt: str, event: CompletionsHeard
    ) -> Claimed | None:
        """Count an event by its kind, and claim the invocation that it settles."""
        kind, entry = match(part, self.ledger)
        event.kinds[kind] += 1
        if isinstance(part, NoCompletion) or kind == "foreign":
            return None
        self.heard(entry)
        if entry is None:
            return None
        if part.service_seconds is not None:
            event.service_seconds.append(part.service_seconds)
        # Where it is being settled now, this message is deleted with the one that claimed it.
        entry.acks = [*(entry.acks or ()), receipt]
        return Claimed(entry, part) if kind == "matched" and self.ledger.claim(entry) else None


async def acknowledge(queue: EventQueue, receipts: MemoryObjectReceiveStream[list[str]]) -> None:
    """Delete messages whose invocations are settled, ten a call, until the stream ends.

    A message that cannot be deleted is delivered again, and then changes nothing.
    """
    async with receipts:
        async for waiting in receipts:
            if len(waiting) < limits.SQS_BATCH_ENTRIES:
                await anyio.sleep(_GATHER_SECONDS)
            with suppress(anyio.WouldBlock, anyio.EndOfStream):
                while len(waiting) < limits.SQS_BATCH_ENTRIES:
                    waiting += receipts.receive_nowait()
            for start in range(0, len(waiting), limits.SQS_BATCH_ENTRIES):
                with suppress(CallError):
                    await queue.delete(waiting[start : start + limits.SQS_BATCH_ENTRIES])
                failpoints.reach("completion.acknowledged")
