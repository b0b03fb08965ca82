"""An SQS queue as a sink: each outcome is a message that holds the line a file would hold."""

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
from dispatcher.retry.backoff import backoff
from dispatcher.retry.outage_timer import OutageTimer

CALLS = 8
"""Calls at once."""

_BACKOFF_BASE_SECONDS, _BACKOFF_CAP_SECONDS, _BACKOFF_FLOOR = 0.1, 20.0, 0.1
"""First and longest wait after failed calls, and the shortest as a share of the wait: the calls of
a sink fail together, so they are spread widely."""

_MESSAGE_CHARS = 200
"""Characters of a dead letter's message that are kept where the whole is too long for the queue."""

_REFUSED = {"\ufffe".encode(): rb"\ufffe", "\uffff".encode(): rb"\uffff"}
"""Characters that JSON allows and a message does not (D), each with its JSON escape. The others
that XML 1.0 excludes are control characters and halves of pairs, which no line of ours holds."""


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
        """Return the queue's attributes; None without the permission to read them."""
        ...


@dataclass(slots=True, kw_only=True)
class SqsSink:
    """A ``Sink`` that is a queue.

    Attributes:
        queue: The calls.
        render: Makes a line of an outcome.
        outage_timer: Ends the run when the queue does not respond for too long.
        rng: Jitters the waits after failed calls.
    """

    queue: SinkQueue
    render: Callable[[Outcome], bytes]
    outage_timer: OutageTimer
    rng: random.Random
    _max_bytes: int | None = None
    _failures: int = 0

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
            RunStopped: The queue refuses a message for good, or has not responded for too long.
        """
        if self._max_bytes is None:
            self._max_bytes = await self._read_max_bytes()
        messages = await anyio.to_thread.run_sync(self._messages, outcomes, self._max_bytes)
        batches = batched(messages, self._max_bytes)
        async with anyio.create_task_group() as group:
            for _ in range(CALLS):
                group.start_soon(self._send_all, batches)

    def _messages(self, outcomes: Sequence[Outcome], max_bytes: int) -> list[bytes]:
        return [self._message(outcome, max_bytes) for outcome in outcomes]

    def _message(self, outcome: Outcome, max_bytes: int) -> bytes:
        if isinstance(outcome.input, FileSlice):  # no message can be so long
            length = outcome.input.size
            outcome.input.close()
        else:
            line = sendable(self.render(outcome))
            if len(line) <= max_bytes:
                return line
            length = len(line)
        line = sendable(without_content(outcome, self.render, length, max_bytes))
        if len(line) <= max_bytes:
            return line
        raise RunStopped(
            f"the outcome of {str(outcome.key)[:60]!r} does not fit a message of {self.queue.url}, "
            f"even without its content: {len(line)} bytes, and its MaximumMessageSize is "
            f"{max_bytes}. Raise that, then run the same command again; nothing is lost"
        )

    async def _read_max_bytes(self) -> int:
        while True:
            try:
                attributes = await self.queue.attributes()
            except CallError as error:
                await self._failed(error)
                continue
            self._succeeded()
            return int((attributes or {}).get("MaximumMessageSize", limits.SQS_BATCH_BYTES))

    async def _send_all(self, batches: Iterator[list[bytes]]) -> None:
        for batch in batches:
            await self._send(batch)

    async def _send(self, batch: list[bytes]) -> None:
        """Send a batch, and what failed of it again, until all of it is sent."""
        while batch:
            try:
                failed = await self.queue.send([body.decode() for body in batch])
            except Rejected as error:
                raise self._refused(error) from error
            except CallError as error:
                await self._failed(error)
                continue
            for entry_error in failed.values():
                if isinstance(entry_error, Rejected):
                    raise self._refused(entry_error) from entry_error
            if len(failed) < len(batch):
                self._succeeded()
            batch = [batch[index] for index in failed]
            if batch:
                await self._failed(next(iter(failed.values())))

    def _succeeded(self) -> None:
        self.outage_timer.succeeded()
        self._failures = 0

    async def _failed(self, error: CallError) -> None:
        self.outage_timer.failed(error)
        self._failures += 1
        wait = backoff(
            self._failures,
            base=_BACKOFF_BASE_SECONDS,
            cap=_BACKOFF_CAP_SECONDS,
            jitter=self.rng.random(),
            floor=_BACKOFF_FLOOR,
        )
        await anyio.sleep(wait)

    def _refused(self, error: Rejected) -> RunStopped:
        return RunStopped(
            f"the queue {self.queue.url} refuses a result or dead letter for good: {error}. "
            "Nothing is lost: correct the queue and run the same command again, or begin a new run "
            "with another sink"
        )


def batched(messages: Sequence[bytes], max_bytes: int) -> Iterator[list[bytes]]:
    """Group messages into calls of at most ten messages and ``max_bytes`` together.

    Args:
        messages: None is larger than ``max_bytes``.
        max_bytes: Largest call, and largest message.
    """
    batch: list[bytes] = []
    size = 0
    for message in messages:
        if len(batch) == limits.SQS_BATCH_ENTRIES or (batch and size + len(message) > max_bytes):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message)
    if batch:
        yield batch


def sendable(line: bytes) -> bytes:
    """Return a line of JSON with the same value, without the characters that SQS refuses."""
    for character, escape in _REFUSED.items():
        if character in line:
            line = line.replace(character, escape)
    return line


def without_content(
    outcome: Outcome, render: Callable[[Outcome], bytes], length: int, max_bytes: int
) -> bytes:
    """Return the line of an outcome without its content, which says that and why it is missing.

    Args:
        outcome: Its whole line is too long for a message.
        render: Makes a line of an outcome.
        length: Bytes of its whole line; of its input alone where that is a slice of a file.
        max_bytes: Largest message.
    """
    at_least = "at least " if isinstance(outcome.input, FileSlice) else ""
    reason = f"the line has {at_least}{length} bytes, a message of this queue at most {max_bytes}"
    more: dict[str, str | None] = {"omitted": reason}
    bare = replace(outcome, input=None)
    if outcome.status == "completed":
        more["location"] = outcome.location
        bare = replace(bare, output=b"null", is_json=True)
    line = render(bare)
    if len(line) + len(reason) > max_bytes:
        line = render(replace(bare, message=bare.message[:_MESSAGE_CHARS]))
    return line[:-1] + b"," + orjson.dumps(more)[1:]
