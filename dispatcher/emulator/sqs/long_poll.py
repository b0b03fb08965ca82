"""SQS queues with long polls, which arrivals wake."""

import asyncio
import re
from dataclasses import KW_ONLY, dataclass, field
from typing import Any
from uuid import uuid4

from dispatcher.emulator.clock import Clock
from dispatcher.emulator.sqs.fault_types import QueueFaults
from dispatcher.emulator.sqs.queue import MessageQueue, StoredMessage

ACCOUNT = "000000000000"
"""The emulated account."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


class PolledQueue:
    """One queue and its waiting receivers.

    Attributes:
        name: The queue's name.
        arn: The queue's ARN.
        attributes: Attributes as they were set, by name.
        created: When it was made, in seconds since the epoch.
        messages: The messages.
    """

    def __init__(self, *, name: str, arn: str, clock: Clock, faults: QueueFaults) -> None:
        self.name = name
        self.arn = arn
        self.attributes: dict[str, str] = {}
        self.created = clock.now()
        self.messages = MessageQueue()
        self._clock = clock
        self._faults = faults
        self._waiters: dict[asyncio.Future[None], None] = {}

    def send(self, body: str, *, delay: float = 0.0, attributes: Any = None) -> StoredMessage:
        """Add a message and wake a waiting receiver."""
        message = self.messages.send(
            body,
            message_id=str(uuid4()),
            now=self._clock.now(),
            delay=delay,
            attributes=attributes,
        )
        # Also for a delayed message: the receiver then knows how long to wait for it.
        self._wake_one()
        return message

    async def receive(
        self, max_messages: int, *, wait: float, visibility: float | None = None
    ) -> list[StoredMessage]:
        """Take up to ``max_messages`` messages, waiting up to ``wait`` seconds for the first.

        Nothing is taken when the call is cancelled.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            taken = self.messages.receive(
                max_messages, now=self._clock.now(), visibility=visibility
            )
            if taken or loop.time() >= deadline:
                break
            await self._arrival(deadline - loop.time())
        if self._faults.armed:
            for message in taken:
                if self._faults.redelivers(message):
                    self.messages.change_visibility(message.receipt, 0, now=self._clock.now())
        self._pass_on()
        return taken

    async def _arrival(self, seconds: float) -> None:
        if (wake := self.messages.next_wake()) is not None:
            seconds = min(seconds, max(wake - self._clock.now(), 0.001))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiters[future] = None
        timer = loop.call_later(seconds, _resolve, future)
        try:
            await future
        except asyncio.CancelledError:
            # This receiver may have been woken for a message that it will not take.
            self._waiters.pop(future, None)
            self._pass_on()
            raise
        finally:
            timer.cancel()
            self._waiters.pop(future, None)

    def changed(self) -> None:
        """Wake a receiver, because the time at which a message is visible has changed."""
        self._wake_one()

    def _pass_on(self) -> None:
        if self._waiters and self.messages.has_visible(self._clock.now()):
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            future = next(iter(self._waiters))
            del self._waiters[future]
            if not future.done():
                future.set_result(None)
                return


@dataclass(slots=True)
class Queues:
    """Queues by name.

    Attributes:
        region: AWS region, for ARNs.
        clock: Time for all queues.
        faults: Source of the faults inside queues.
        by_name: The queues.
    """

    region: str
    clock: Clock
    faults: QueueFaults
    _: KW_ONLY
    by_name: dict[str, PolledQueue] = field(default_factory=dict)

    def create(self, name: str) -> PolledQueue:
        """Return the queue of this name, made where it does not exist.

        Raises:
            ValueError: The name is not one that SQS allows for a standard queue.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(name)
        queue = self.by_name.get(name)
        if queue is None:
            arn = f"arn:aws:sqs:{self.region}:{ACCOUNT}:{name}"
            queue = self.by_name[name] = PolledQueue(
                name=name, arn=arn, clock=self.clock, faults=self.faults
            )
        return queue

    def of_arn(self, arn: str) -> PolledQueue | None:
        """Return the queue of an ARN, or None."""
        queue = self.by_name.get(arn.rpartition(":")[2])
        return queue if queue is not None and queue.arn == arn else None


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
