"""State of the stub: objects, messages, and counts of everything it has served.

An accepted invocation is an output object and an event at the next tick. Objects are kept as a
number of lines, events as a tuple until they are received, so a request costs a few hundred
bytes of bookkeeping until ``reset``. Some can be held: they have no outcome until ``release``.
"""

import asyncio
import base64
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import md5
from typing import NamedTuple

BUCKET = b"stub-output"
QUEUE = "/000000000000/completions"

_VALUE = (
    b'{"label":"satisfied","score":0.9731482653,"scores":{"satisfied":0.9731482653,'
    b'"undecided":0.0201153320,"annoyed":0.0067364027},"model":"letters-2026-11-01",'
    b'"tokens":187,"language":"en","truncated":false}'
)
"""An answer to one record: what a classifier of text says, about 200 bytes."""

_EVENT = (
    b'{"awsRegion":"us-east-1","eventTime":"%b","receivedTime":"%b","invocationStatus":"Completed",'
    b'"requestParameters":{"endpointName":"%b","contentType":"%b"},'
    b'"responseParameters":{"contentType":"%b","outputLocation":"s3://%b"},%b'
    b'"inferenceId":"%b","eventVersion":"1.0","eventSource":"aws:sagemaker",'
    b'"eventName":"InferenceResult"}'
)
_MESSAGE = (
    b'{"MessageId":"%08x-0000-4000-8000-%012x","ReceiptHandle":"stub-%d","MD5OfBody":"%b",'
    b'"Body":"%b"}'
)


class Event(NamedTuple):
    """The facts of a finished invocation, for the message about it."""

    inference: bytes
    endpoint: bytes
    content_type: bytes
    place: bytes
    lines: int
    received: bytes


@dataclass(slots=True, eq=False)
class Poll:
    """A receive that waits for messages; ``answer`` is None once its connection is gone."""

    most: int
    answer: Callable[[bytes], None] | None


@lru_cache(maxsize=256)
def output(lines: int) -> bytes:
    """Return the output of a request of so many lines: a JSON value a line."""
    return b"\n".join([_VALUE] * lines)


def output_type(lines: int) -> bytes:
    """Return the MIME type of an output."""
    return b"application/json" if lines == 1 else b"application/jsonlines"


@lru_cache(maxsize=256)
def _response_body(lines: int) -> bytes:
    content = output(lines)
    if len(content) > 128 * 1024:
        return b""
    return (
        b'"responseBody":{"content":"%b","message":"Response payload is included",'
        b'"encoding":"BASE64"},' % base64.b64encode(content)
    )


@dataclass(slots=True)
class Service:
    """The state of the stub; one for all connections.

    Attributes:
        delay: Seconds between two ticks. What was accepted since the last tick completes at the
            next, all at once: that is how a fleet of instances looks to one who polls, and it
            lets messages share a receive as they do at load.
        in_event: The answer also travels in the event.
        hold: How many invocations get no outcome before ``release``.
        hold_every: Of so many that are accepted, one is held, until there are ``hold``.
        watched: The id of the last invocation that was planned before a restart, or None.
        first_call: Epoch seconds of the first call since ``watch``.
        first_new: The same, of the first one of an invocation that is younger than ``watched``.
    """

    delay: float
    in_event: bool
    hold: int = 0
    hold_every: int = 1
    watched: bytes | None = None
    first_call: float | None = None
    first_new: float | None = None
    counts: Counter[str] = field(default_factory=Counter)
    outputs: dict[bytes, int] = field(default_factory=dict)
    unread: set[bytes] = field(default_factory=set)
    staged: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    first: float | None = None
    last: float = 0.0
    date: bytes = b""
    stamp: bytes = b""
    read_at: float = 0.0
    _accepted: list[Event] = field(default_factory=list)
    _ready: deque[Event] = field(default_factory=deque)
    _polls: deque[Poll] = field(default_factory=deque)
    _in_flight: dict[bytes, Event] = field(default_factory=dict)
    _held: dict[bytes, Event] = field(default_factory=dict)
    _released: bool = False
    _numbers: int = 0
    _cpu: float = 0.0
    _ticks: bool = False

    def __post_init__(self) -> None:
        self.read_clock()

    def read_clock(self) -> None:
        """Format the time, once a tick instead of once a request."""
        self.read_at = time.monotonic()
        now = time.time()
        gmt = time.gmtime(now)
        self.date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", gmt).encode()
        self.stamp = b"%b.%03dZ" % (
            time.strftime("%Y-%m-%dT%H:%M:%S", gmt).encode(),
            int(now * 1000) % 1000,
        )

    def number(self) -> int:
        """Return a number that was not used before."""
        self._numbers += 1
        return self._numbers

    def accept(self, event: Event) -> None:
        """Take an invocation; its output and event are there after the next tick."""
        self.counts["accepted"] += 1
        self.counts["lines"] += event.lines
        if self.watched is not None and self.first_new is None:
            self._watch(event.inference)
        if self.hold and not self._released and self._holds(event):
            return
        self._accepted.append(event)
        self._complete_soon()

    def _holds(self, event: Event) -> bool:
        """Return whether an invocation is held, also when it is called once more."""
        known = event.place in self._held
        if not known and (
            len(self._held) == self.hold or self.counts["accepted"] % self.hold_every
        ):
            return False
        self.counts["held_lines"] += 0 if known else event.lines
        self._held[event.place] = event
        return True

    def release(self) -> None:
        """Complete what was held, and hold no more."""
        self._released = True
        self._accepted.extend(self._held.values())
        self._held.clear()
        self._complete_soon()

    def redeliver(self) -> None:
        """Deliver again what was received and not deleted, as when its visibility has ended."""
        self._ready.extend(self._in_flight.values())
        self._in_flight.clear()

    def watch(self, last: bytes) -> None:
        """Note when the next call comes, and the next one of an invocation after ``last``."""
        self.watched, self.first_call, self.first_new = last, None, None

    def _watch(self, inference: bytes) -> None:
        now = time.time()
        if self.first_call is None:
            self.first_call = now
        if self.watched is not None and inference > self.watched:
            self.first_new = now

    def _complete_soon(self) -> None:
        if not self._ticks:
            self._ticks = True
            asyncio.get_running_loop().call_later(self.delay, self._tick)

    def _tick(self) -> None:
        self._ticks = False
        self.read_clock()
        for event in self._accepted:
            self.outputs[event.place] = event.lines
            self.unread.add(event.place)
        self._ready.extend(self._accepted)
        self._accepted.clear()
        while self._polls and self._ready:
            poll = self._polls.popleft()
            if poll.answer is not None:
                poll.answer(self._receive(poll.most))

    def receive(self, most: int, wait: float, answer: Callable[[bytes], None]) -> Poll | None:
        """Answer with messages as soon as there are any; return the poll that waits, if it does.

        Args:
            most: Messages at most.
            wait: Longest wait in seconds.
            answer: Is given the JSON document of the answer, perhaps at once.
        """
        if self._ready or wait <= 0:
            answer(self._receive(most))
            return None
        poll = Poll(most, answer)
        self._polls.append(poll)
        asyncio.get_running_loop().call_later(wait, self._end, poll)
        return poll

    def _end(self, poll: Poll) -> None:
        if poll in self._polls:
            self._polls.remove(poll)
            if poll.answer is not None:
                poll.answer(self._receive(0))

    def _receive(self, most: int) -> bytes:
        self.counts["receives"] += 1
        messages: list[bytes] = []
        while self._ready and len(messages) < most:
            event = self._ready.popleft()
            body = _EVENT % (
                self.stamp,
                event.received,
                event.endpoint,
                event.content_type,
                output_type(event.lines),
                event.place,
                _response_body(event.lines) if self.in_event else b"",
                event.inference,
            )
            number = self.number()
            self._in_flight[b"stub-%d" % number] = event
            digest = md5(body, usedforsecurity=False).hexdigest().encode()
            messages.append(_MESSAGE % (number, number, number, digest, body.replace(b'"', b'\\"')))
        self.counts["received"] += len(messages)
        return b'{"Messages":[%b]}' % b",".join(messages) if messages else b"{}"

    def delete(self, receipt: str) -> None:
        """Delete a message; doing so twice is a success, as it is on SQS."""
        try:
            del self._in_flight[receipt.encode()]
        except KeyError:
            self.counts["deleted_again"] += 1
        else:
            self.counts["deleted"] += 1

    def read(self, place: bytes) -> int | None:
        """Return the lines of an output that is read, or None if it is not there."""
        if (lines := self.outputs.get(place)) is None:
            self.counts["not_there"] += 1
            return None
        self.counts["reads"] += 1
        if place in self.unread:
            self.unread.remove(place)
            self.counts["outputs_read"] += 1
        return lines

    def reset(self) -> None:
        """Forget objects, messages and counts; a measurement begins."""
        for kept in (self.outputs, self.unread, self.staged, self._accepted, self._ready):
            kept.clear()
        self._in_flight.clear()
        self._held.clear()
        self._released = False
        self.watched = self.first_call = self.first_new = None
        self.counts.clear()
        self.first = None
        self._cpu = time.process_time()

    def stats(self) -> dict[str, object]:
        """Return counts, CPU seconds, and the seconds from the first request to the last."""
        busy = 0.0 if self.first is None else self.last - self.first
        return {
            "cpu": time.process_time() - self._cpu,
            "busy": busy,
            "queued": len(self._ready) + len(self._accepted),
            "in_flight": len(self._in_flight),
            "held": len(self._held),
            "first_call": self.first_call,
            "first_new": self.first_new,
            **self.counts,
        }
