"""Events from the queue: claim what they complete, delete what is of no use to anybody."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher import failpoints, limits
from dispatcher.aws.requests import SqsMessage
from dispatcher.completion.event import Completion, Nothing, parse
from dispatcher.completion.joiner import Claimed
from dispatcher.config.settings import Config
from dispatcher.errors import CallError
from dispatcher.flow.channel import send_eagerly
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.observe.meter import Meter
from dispatcher.retry.outage import OutageTimer

_PAUSE_SECONDS = 1.0
"""Wait after a failed call to the queue; the sweeper goes on meanwhile."""

_DRAIN_SECONDS = 1
"""How long an empty queue is waited for before its events of the meantime count as heard. Not 0:
a short poll asks only some of the queue's servers."""

_GATHER_SECONDS = 0.05
"""How long events, and their receipts, wait for others to share a call with: a call costs the same
for ten. Nobody waits where ten are there already."""


class EventQueue(Protocol):
    """The queue that events arrive in."""

    async def receive(self, *, wait: int | None = None) -> list[SqsMessage]:
        """Wait for messages, at most ``wait`` seconds."""

    async def delete(self, receipts: Sequence[str]) -> object:
        """Delete up to ten messages."""


@dataclass(slots=True)
class Listener:
    """What the listener loops of a run share; ``run`` is one loop, until cancelled.

    Attributes:
        heard: Is told of each event of this run, with its invocation before that is claimed.
        drained: The events that waited in the queue at the start are heard.
    """

    config: Config
    ledger: Ledger
    queue: EventQueue
    meter: Meter
    patience: OutageTimer
    heard: Callable[[Entry | None], None]
    drained: anyio.Event = field(default_factory=anyio.Event)

    async def run(
        self,
        claims: MemoryObjectSendStream[Claimed],
        receipts: MemoryObjectSendStream[list[str]],
    ) -> None:
        """Receive events for as long as the run goes on.

        Raises:
            Denied: The queue does not exist or may not be read.
            RunStopped: AWS has not answered for too long.
        """
        async with claims, receipts:
            while True:
                try:
                    messages = await self._receive()
                except CallError as error:
                    self.patience.failed(error)
                    await anyio.sleep(_PAUSE_SECONDS)
                    continue
                self.patience.succeeded()
                failpoints.reach("completion.received")
                claimed, done = self._take(messages)
                if not messages:
                    self.drained.set()
                for claim in claimed:
                    await send_eagerly(claims, claim)
                failpoints.reach("completion.claimed")
                if done:
                    await receipts.send(done)
                if len(messages) < limits.SQS_BATCH_ENTRIES:
                    await anyio.sleep(_GATHER_SECONDS)

    async def _receive(self) -> list[SqsMessage]:
        # A full-length poll of an empty queue would keep resumed invocations waiting.
        return await self.queue.receive(wait=None if self.drained.is_set() else _DRAIN_SECONDS)

    def _take(self, messages: Sequence[SqsMessage]) -> tuple[list[Claimed], list[str]]:
        """Claim what messages complete, at once; return that, and receipts of useless messages."""
        claimed: list[Claimed] = []
        done: list[str] = []
        for message in messages:
            parts = parse(message.body)
            claims = [c for part in parts if (c := self._heard(part, message.receipt))]
            if not claims and self._is_useless(parts):
                done.append(message.receipt)
            claimed += claims
        return claimed, done

    def _of(self, part: Completion) -> tuple[bool, Entry | None]:
        """Return whether an event is of this run, and its invocation if that is outstanding."""
        ours, entry = self.ledger.find_id(part.invocation or "")
        if not ours and part.location is not None:
            entry = self.ledger.find_output(str(part.location))
        return ours or entry is not None, entry

    def _heard(self, part: Completion | Nothing, receipt: str) -> Claimed | None:
        """Count an event and return what it settles, if anything is left to settle."""
        if isinstance(part, Nothing):
            self.meter.events[part.why] += 1
            return None
        ours, entry = self._of(part)
        if not ours:
            self.meter.events["foreign"] += 1
            return None
        self.heard(entry)
        if part.service_seconds is not None and entry is not None:
            self.meter.service_latency.add(part.service_seconds)
        if entry is None or not self.ledger.claim(entry):
            self.meter.events["duplicate"] += 1
            if entry is not None:  # being settled now: delete this message with the other
                entry.acks = [*(entry.acks or ()), receipt]
            return None
        self.meter.events["matched"] += 1
        entry.acks = [*(entry.acks or ()), receipt]
        return Claimed(entry, part)

    def _is_useless(self, parts: Sequence[Completion | Nothing]) -> bool:
        """Return whether a message may be deleted at once.

        Ours and settled, or a test: yes. Foreign or not understood: as configured, for the queue
        may be shared. Ours and being settled: no, it goes when that is durable.
        """
        for part in parts:
            if isinstance(part, Nothing):
                if part.why != "test" and self.config.completion.foreign == "leave":
                    return False
                continue
            ours, entry = self._of(part)
            if entry is not None or (not ours and self.config.completion.foreign == "leave"):
                return False
        return True


async def acknowledge(queue: EventQueue, receipts: MemoryObjectReceiveStream[list[str]]) -> None:
    """Delete messages whose invocations are settled, ten a call, until the stream ends.

    What cannot be deleted is delivered again, and is then a duplicate that changes nothing.
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
