"""Outcomes as messages of an SQS queue: the same lines that a file would hold, one a message."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import anyio
import anyio.to_thread
import orjson

from dispatcher import limits
from dispatcher.errors import CallError, Rejected, RunStopped
from dispatcher.flow.content import FileSlice
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Outcome
from dispatcher.retry.outage import OutageTimer

CALLS = 8
"""Calls at once."""

_BACKOFF_SECONDS = (0.1, 20.0)
"""The wait after a failed call, which doubles with each, and the longest; with full jitter."""

_MESSAGE_CHARS = 200
"""What is kept of a dead letter's message where the whole is too long for the queue."""

_REFUSED = {"\ufffe".encode(): rb"\ufffe", "\uffff".encode(): rb"\uffff"}
"""Characters that JSON has and a message may not have (D), and how JSON can say them otherwise.
The others of XML 1.0's are control characters and halves of pairs, which no line of ours holds."""


class SinkQueue(Protocol):
    """The calls to the queue; see ``dispatcher.aws.queue.Queue``."""

    @property
    def url(self) -> str:
        """The queue's URL."""
        ...

    async def send(self, bodies: Sequence[str]) -> Mapping[int, CallError]:
        """Send up to ten messages; return the errors of those that failed, by index."""
        ...

    async def attributes(self) -> Mapping[str, str] | None:
        """Return what the queue says of itself; None where one may not ask."""
        ...


@dataclass(slots=True)
class SqsSink:
    """A ``Sink`` that is a queue.

    Attributes:
        queue: The calls.
        render: Makes a line of an outcome.
        patience: Counts failed calls.
        rng: Jitters what must not happen at once.
    """

    queue: SinkQueue
    render: Callable[[Outcome], bytes]
    patience: OutageTimer
    rng: random.Random
    _longest: int | None = None
    _pauses: int = 0

    @property
    def name(self) -> str:
        """The queue's URL."""
        return self.queue.url

    @property
    def mark(self) -> SinkMark | None:
        """None: what was sent cannot be taken back."""
        return None

    async def write(self, outcomes: Sequence[Outcome]) -> None:
        """Send a message for each outcome, see ``Sink``.

        Raises:
            RunStopped: The queue refuses a message for good, or has not answered for too long.
        """
        if self._longest is None:
            self._longest = await self._ask_longest()
        messages = await anyio.to_thread.run_sync(self._messages, outcomes, self._longest)
        batches = batched(messages, self._longest)
        async with anyio.create_task_group() as group:
            for _ in range(CALLS):
                group.start_soon(self._send_all, batches)

    def _messages(self, outcomes: Sequence[Outcome], longest: int) -> list[bytes]:
        return [self._message(outcome, longest) for outcome in outcomes]

    def _message(self, outcome: Outcome, longest: int) -> bytes:
        if isinstance(outcome.input, FileSlice):  # no message is so long
            length = outcome.input.size
            outcome.input.close()
        else:
            line = sendable(self.render(outcome))
            if len(line) <= longest:
                return line
            length = len(line)
        line = sendable(without_content(outcome, self.render, length, longest))
        if len(line) <= longest:
            return line
        raise RunStopped(
            f"the outcome of {str(outcome.key)[:60]!r} does not fit a message of {self.queue.url}, "
            f"even without its content: {len(line)} bytes, and its MaximumMessageSize is {longest}."
            " Raise that, then run the same command again; nothing is lost"
        )

    async def _ask_longest(self) -> int:
        while True:
            try:
                told = await self.queue.attributes()
            except CallError as error:
                await self._failed(error)
                continue
            self._succeeded()
            return int((told or {}).get("MaximumMessageSize", limits.SQS_BATCH_BYTES))

    async def _send_all(self, batches: Iterator[list[bytes]]) -> None:
        for batch in batches:
            await self._send(batch)

    async def _send(self, batch: list[bytes]) -> None:
        """Send a batch again and again, less each time, until all of it is sent."""
        while batch:
            try:
                failed = await self.queue.send([body.decode() for body in batch])
            except Rejected as error:
                raise self._refused(error) from error
            except CallError as error:
                await self._failed(error)
                continue
            for why in failed.values():
                if isinstance(why, Rejected):
                    raise self._refused(why) from why
            if len(failed) < len(batch):
                self._succeeded()
            batch = [batch[index] for index in failed]
            if batch:
                await self._failed(next(iter(failed.values())))

    def _succeeded(self) -> None:
        self.patience.succeeded()
        self._pauses = 0

    async def _failed(self, error: CallError) -> None:
        self.patience.failed(error)
        base, cap = _BACKOFF_SECONDS
        ceiling = min(cap, base * 2.0 ** min(self._pauses, 60))
        self._pauses += 1
        await anyio.sleep(ceiling * self.rng.uniform(0.1, 1.0))

    def _refused(self, error: Rejected) -> RunStopped:
        return RunStopped(
            f"the queue {self.queue.url} refuses a result or dead letter for good: {error}. "
            "Nothing is lost: mend the queue and run the same command again, or begin a new run "
            "with another sink"
        )


def batched(messages: Sequence[bytes], longest: int) -> Iterator[list[bytes]]:
    """Cut messages into calls: at most ten, and together no longer than one may be.

    Args:
        messages: None is longer than ``longest``.
        longest: Most bytes of a call.
    """
    batch: list[bytes] = []
    size = 0
    for message in messages:
        if len(batch) == limits.SQS_BATCH_ENTRIES or (batch and size + len(message) > longest):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message)
    if batch:
        yield batch


def sendable(line: bytes) -> bytes:
    """Return a line of JSON without the characters that SQS refuses: the same value."""
    for character, escape in _REFUSED.items():
        if character in line:
            line = line.replace(character, escape)
    return line


def without_content(
    outcome: Outcome, render: Callable[[Outcome], bytes], length: int, longest: int
) -> bytes:
    """Return the line of an outcome that is too long for a message, with a word on what is missing.

    Args:
        outcome: It.
        render: Makes a line of an outcome.
        length: Bytes of its whole line; at least so many where its input is a blob.
        longest: Most bytes of a message.
    """
    more_or_less = "at least " if isinstance(outcome.input, FileSlice) else ""
    why = f"the line has {more_or_less}{length} bytes, a message of this queue at most {longest}"
    more: dict[str, str | None] = {"omitted": why}
    bare = replace(outcome, input=None)
    if outcome.status == "completed":
        more["location"] = outcome.location
        bare = replace(bare, output=b"null", is_json=True)
    line = render(bare)
    if len(line) + len(why) > longest:
        line = render(replace(bare, message=bare.message[:_MESSAGE_CHARS]))
    return line[:-1] + b"," + orjson.dumps(more)[1:]
