"""A queue in memory for tests of its source: the emulator's, with a list of errors to raise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from dispatcher import limits
from dispatcher.aws.requests import SqsMessage
from dispatcher.emulator.sqs.queue import MessageQueue
from dispatcher.errors import CallError, Rejected, Transient
from dispatcher.records.record import Position
from tests.virtual_time import now

URL = "https://sqs.eu-west-1.amazonaws.com/1/in"
STALE = Rejected("stale", code="InvalidParameterValue")
FAILED = Transient("failed", code="InternalError")


@dataclass
class Log:
    """What the ledger recorded at the start, and the messages that it was asked to forget."""

    next_number: int = 0
    outstanding: dict[str, Position] = field(default_factory=dict)
    settled: dict[str, float] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)

    def is_idle(self) -> bool:
        return False

    def forget(self, names: Sequence[str]) -> None:
        self.forgotten += names


@dataclass
class MemoryQueue:
    """The calls to a queue of the emulator, without the way between.

    Attributes:
        queue: The messages.
        wrong: By call: the errors of the next calls, or of entries of them; None succeeds.
        calls: Each call with its number of entries.
        extra_attributes: Attributes besides the counts; None: they may not be read.
        polls: How many receives are waiting now.
    """

    visibility: int = 30
    queue: MessageQueue = field(default_factory=MessageQueue)
    wrong: dict[str, list[CallError | dict[int, CallError] | None]] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)
    extra_attributes: dict[str, str] | None = field(default_factory=dict)
    polls: int = 0
    _changed: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.queue.visibility = self.visibility

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.queue.send(body, message_id=f"id-{body}"[:50], now=now())
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _called(self, name: str, entries: int) -> dict[int, CallError]:
        self.calls.append((name, entries))
        await anyio.lowlevel.checkpoint()
        wrong = self.wrong.get(name)
        now_wrong = wrong.pop(0) if wrong else None
        if isinstance(now_wrong, CallError):
            raise now_wrong
        return now_wrong or {}

    async def receive(self, *, wait: int | None = None) -> list[SqsMessage]:
        await self._called("receive", 0)
        deadline = now() + (limits.SQS_LONG_POLL_SECONDS if wait is None else wait)
        self.polls += 1
        try:
            while not (taken := self.queue.receive(10, now=now())) and now() < deadline:
                wake = self.queue.next_wake()
                until = deadline if wake is None else min(deadline, wake)
                with anyio.move_on_after(until - now()):
                    await self._changed.wait()
        finally:
            self.polls -= 1
        return [SqsMessage(m.body, m.receipt, m.id) for m in taken]

    async def delete(self, receipts: Sequence[str]) -> Mapping[int, CallError]:
        failed = await self._called("delete", len(receipts))
        for index, receipt in enumerate(receipts):
            if index not in failed:
                self.queue.delete(receipt)
        return failed

    async def change_visibility(
        self, changes: Sequence[tuple[str, int]]
    ) -> Mapping[int, CallError]:
        failed = dict(await self._called("change_visibility", len(changes)))
        for index, (receipt, seconds) in enumerate(changes):
            if index not in failed and not self.queue.change_visibility(
                receipt, seconds, now=now()
            ):
                failed[index] = STALE
        self._wake()
        return failed

    async def attributes(self) -> Mapping[str, str] | None:
        await self._called("attributes", 0)
        if self.extra_attributes is None:
            return None
        visible, hidden, delayed = self.queue.counts(now())
        return {
            "VisibilityTimeout": str(self.visibility),
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(hidden),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
        } | self.extra_attributes
