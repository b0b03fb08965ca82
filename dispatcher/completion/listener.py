"""Events from the queue: claim what they complete, delete what is of no use to anybody."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher import failpoints, limits
from dispatcher.aws.calls import Message
from dispatcher.completion.event import Completion, Nothing, parse
from dispatcher.completion.joiner import Claimed
from dispatcher.completion.patience import Patience
from dispatcher.config.settings import Config
from dispatcher.errors import CallError
from dispatcher.ledger.channels import hand_over
from dispatcher.ledger.ledger import Ledger
from dispatcher.observe.meter import Meter

_PAUSE_SECONDS = 1.0
"""Wait after a failed call to the queue; the sweeper goes on meanwhile."""

_GATHER_SECONDS = 0.05
"""How long events, and their receipts, wait for others to share a call with: a call costs the same
for ten. Nobody waits where ten are there already."""


class EventQueue(Protocol):
    """The queue that events arrive in."""

    async def receive(self) -> list[Message]:
        """Wait for messages."""

    async def delete(self, receipts: Sequence[str]) -> list[str]:
        """Delete up to ten messages; return the receipts that failed."""


@dataclass(slots=True)
class Listener:
    """What the listener loops of a run share; ``run`` is one loop, until cancelled."""

    config: Config
    ledger: Ledger
    queue: EventQueue
    meter: Meter
    patience: Patience

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
                    messages = await self.queue.receive()
                except CallError as error:
                    self.patience.failed(error)
                    await anyio.sleep(_PAUSE_SECONDS)
                    continue
                self.patience.succeeded()
                failpoints.reach("completion.received")
                done = []
                for message in messages:
                    parts = parse(message.body)
                    claimed = [c for part in parts if (c := self._heard(part, message.receipt))]
                    for claim in claimed:
                        await hand_over(claims, claim)
                    if not claimed and self._is_useless(parts):
                        done.append(message.receipt)
                failpoints.reach("completion.claimed")
                if done:
                    await receipts.send(done)
                if len(messages) < limits.SQS_BATCH_ENTRIES:
                    await anyio.sleep(_GATHER_SECONDS)

    def _heard(self, part: Completion | Nothing, receipt: str) -> Claimed | None:
        """Count an event and return what it settles, if anything is left to settle."""
        if isinstance(part, Nothing):
            self.meter.events[part.why] += 1
            return None
        ours, entry = self.ledger.find_id(part.invocation or "")
        if not ours:
            self.meter.events["foreign"] += 1
            return None
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
            ours, entry = self.ledger.find_id(part.invocation or "")
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
