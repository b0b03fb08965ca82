"""From a completion to outcomes: read the answer, split it, pair each record with its own.

Events and looks into S3 meet here. Whoever claims an invocation first settles it; what comes later
is counted and changes nothing.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher import failpoints
from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import Location
from dispatcher.completion.event import Completion, Kind
from dispatcher.completion.outcomes import FailedOutcome, OutputObject, judged, settlement_of
from dispatcher.config.settings import Config
from dispatcher.errors import CallError, Denied, NotThere, Rejected
from dispatcher.flow.budget import MemoryBudget, Reservation
from dispatcher.flow.channel import EagerReceiver, send_eagerly
from dispatcher.flow.content import LARGE_BYTES, ChangedError, FileSlice
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.payloads.payloads import unreadable_payload
from dispatcher.observe.meter import Meter
from dispatcher.packing.response_split import decompressed_size
from dispatcher.retry.outage import OutageTimer
from dispatcher.retry.outcomes import Next, RetryInvocation, allowance, follow

T = TypeVar("T")

_READS = 5
"""Tries to read an output object before it is left to a later event or look."""

_PAUSE_SECONDS = 0.2

_THREAD_BYTES, _THREAD_RECORDS = 256_000, 500
"""Answers from here on are judged on a worker thread: a few milliseconds, or ten with a select."""


class Incoming(Protocol):
    """An object that is about to be read.

    Attributes:
        size: Its bytes.
        content_type: Its MIME type, or None.
    """

    size: int
    content_type: str | None

    async def read(self) -> bytes:
        """Return all of it."""


class Reader(Protocol):
    """Reads output and failure objects."""

    def open(self, location: Location) -> AbstractAsyncContextManager[Incoming]:
        """Begin to read an object."""


@dataclass(slots=True)
class Claimed:
    """A completion with the invocation that it settles."""

    entry: Entry
    completion: Completion


@dataclass(slots=True)
class Joiner:
    """What the joiner loops of a run reservation; ``run`` is one loop.

    Attributes:
        postpone: Takes new invocations, which are to be sent when they are due.
    """

    config: Config
    ledger: Ledger
    reader: Reader
    memory: MemoryBudget
    patience: OutageTimer
    meter: Meter
    postpone: Callable[[Planned], None]
    now: Callable[[], float]
    rng: random.Random = field(default_factory=random.Random)

    async def run(
        self,
        claims: MemoryObjectReceiveStream[Claimed],
        settlements: MemoryObjectSendStream[list[Settlement]],
        receipts: MemoryObjectSendStream[list[str]],
    ) -> None:
        """Settle what is claimed until there is no more.

        Raises:
            Denied: Outputs may not be read.
            RunStopped: AWS has not answered for too long.
        """
        async with claims, settlements, receipts:
            async for claimed in EagerReceiver(claims):
                await self._join(claimed, settlements, receipts)

    async def _join(
        self,
        claimed: Claimed,
        settlements: MemoryObjectSendStream[list[Settlement]],
        receipts: MemoryObjectSendStream[list[str]],
    ) -> None:
        """Settle one claim, in a frame of its own: a loop would hold the answer until the next."""
        reservation = Reservation(self.memory)
        try:
            match await self.settle(claimed, reservation):
                case Settlement() as settled:
                    failpoints.reach("completion.joined")
                    settled.reservation = reservation  # held until the outcomes are written
                    await send_eagerly(settlements, [settled])
                case RetryInvocation() as anew:
                    reservation.release()
                    await self._invoke_anew(claimed.entry, anew, receipts)
                case None:
                    reservation.release()
                    self._give_back(claimed)
        except BaseException:
            reservation.release()
            raise

    def _give_back(self, claimed: Claimed) -> None:
        """Leave an invocation to a later event or look."""
        entry, completion = claimed.entry, claimed.completion
        at = None if completion.location is None else str(completion.location)
        output, failure = (at, None) if completion.kind == "completed" else (None, at)
        # It completed, so it was accepted, even where no 202 said so: nobody sends it again, and
        # the sweeper has to know of it.
        self.ledger.accept(entry.planned, self.now(), output, failure)
        entry.claimed = False

    async def _invoke_anew(
        self, entry: Entry, anew: RetryInvocation, receipts: MemoryObjectSendStream[list[str]]
    ) -> None:
        if anew.parts > 1:  # before the fact: other loops decide by what is left meanwhile
            self.meter.split += 1
            self.meter.parts += anew.parts
        with anyio.CancelScope(shield=True):  # what is planned is to be waited for, or left
            for planned in await self.ledger.replace(entry, after=anew.after, parts=anew.parts):
                self.postpone(planned)
        self.meter.outstanding = self.ledger.outstanding
        if anew.parts > 1:
            failpoints.reach("completion.split")
        else:
            self.meter.retried[anew.reason] += 1
        if entry.acks:
            await receipts.send(entry.acks)

    async def settle(
        self, claimed: Claimed, reservation: Reservation
    ) -> Settlement | RetryInvocation | None:
        """Return the outcomes of an invocation, or None if its answer cannot be read for now.

        The memory that they take is held by ``reservation``.
        """
        entry, completion = claimed.entry, claimed.completion
        if entry.payload is None:
            return None  # lost with the power; the intake is reading it again
        try:
            answer = await self._answer(entry, completion, reservation)
        except CallError as error:
            self.patience.failed(error)
            return None
        judgement = await self._judge(claimed, answer, reservation)
        if isinstance(judgement, Settlement):
            return judgement
        following = self._follow(entry, judgement.reason)
        if isinstance(following, RetryInvocation):
            return following
        if following.note:
            judgement = replace(judgement, message=f"{judgement.message}; {following.note}")
        answer.body = None  # in its place the dead letters carry the records
        await _hold(reservation, self._input_bytes(entry, "failed"))
        raws, sink = await self._raws(entry), self.config.sink
        told = partial(
            settlement_of, entry, answer, judgement, raws=raws, sink=sink, now=self.now()
        )
        return await _done(told, 0, len(raws))

    async def _raws(self, entry: Entry) -> list[bytes | FileSlice | None]:
        raws = await self.ledger.raws(entry)
        if None in raws:
            raise unreadable_payload(entry.planned)
        return raws

    def _follow(self, entry: Entry, reason: str) -> Next:
        policy, meter = self.config.retry, self.meter
        return follow(
            reason,
            tries=entry.tries,
            records=len(entry.record_refs),
            allowed=allowance(policy.bisection, read=meter.read, made=meter.parts),
            policy=policy,
            jitter=self.rng.random(),
        )

    def _input_bytes(self, entry: Entry, kind: Kind) -> int:
        """Return how many bytes of input the outcomes will carry in memory."""
        size = entry.planned.size
        if self._parses_inputs(kind):
            return size
        needed = kind != "completed" or self.config.sink.join != "output"
        return size if needed and size < LARGE_BYTES else 0

    def _parses_inputs(self, kind: Kind) -> bool:
        sink = self.config.sink
        return kind == "completed" and sink.join != "output" and sink.select is not None

    async def _answer(
        self, entry: Entry, completion: Completion, reservation: Reservation
    ) -> OutputObject:
        inputs = self._input_bytes(entry, completion.kind)
        if completion.kind == "expired" or completion.body is not None:
            await reservation.acquire(inputs + len(completion.body or b""))
            at = None if completion.location is None else str(completion.location)
            return OutputObject(completion.body, completion.content_type, location=at)
        given = entry.output if completion.kind == "completed" else entry.failure
        location = completion.location or (parse_location(given) if given else None)
        if location is None:
            if completion.kind == "failed":
                return OutputObject(None, None)
            return OutputObject(None, None, "output_missing", "the event names no output object")
        try:
            return await self._read(location, inputs, reservation)
        except (NotThere, Denied) as error:
            if completion.kind == "failed":
                return OutputObject(None, None)  # the event's own reason has to do
            if isinstance(error, Denied):
                raise
            return OutputObject(None, None, "output_missing", f"{error}: {location}")
        except Rejected as error:
            return OutputObject(None, None, "output_unreadable", str(error))

    async def _read(
        self, location: Location, inputs: int, reservation: Reservation
    ) -> OutputObject:
        most = self.config.completion.max_output
        for left in reversed(range(_READS)):
            try:
                async with self.reader.open(location) as incoming:
                    if incoming.size > most:
                        message = (
                            f"{location} has {incoming.size:,} bytes, more than "
                            f"completion.max_output ({most:,})"
                        )
                        return OutputObject(None, None, "output_too_large", message)
                    await reservation.acquire(incoming.size + inputs)
                    body, kind = await incoming.read(), incoming.content_type
                    answer = OutputObject(body, kind, location=str(location))
                    self.patience.succeeded()
                    return answer
            except Rejected:
                raise
            except CallError:
                reservation.release()  # or this and the next try would wait for each other
                if not left:
                    raise
            await anyio.sleep(_PAUSE_SECONDS * (_READS - left))
        raise AssertionError

    async def _judge(
        self, claimed: Claimed, answer: OutputObject, reservation: Reservation
    ) -> Settlement | FailedOutcome:
        """Split an answer, and reshape what results; much of it on a worker thread."""
        entry, completion = claimed.entry, claimed.completion
        kind, sink = completion.kind, self.config.sink
        size, most = len(answer.body or b""), self.config.completion.max_output
        if answer.body and kind == "completed" and "encoding" in (answer.content_type or ""):
            more = await anyio.to_thread.run_sync(
                decompressed_size, answer.body, answer.content_type, most
            )
            size += more
            await _hold(reservation, size + self._input_bytes(entry, kind))
        raws: Sequence[bytes | FileSlice | None] = [None] * len(entry.record_refs)
        if kind == "completed" and answer.body is not None and sink.join != "output":
            raws = await self._raws(entry)
        if self._parses_inputs(kind):
            size += entry.planned.size
        judge = partial(
            judged, completion, answer, entry, raws=raws, config=self.config, now=self.now()
        )
        try:
            made = await _done(judge, size, len(entry.record_refs))
        except ChangedError as error:
            raise unreadable_payload(entry.planned) from error
        if isinstance(made, FailedOutcome) or sink.select is None or sink.join != "output":
            return made
        if all(outcome.status == "completed" for outcome in made.outcomes):
            return made
        # What could not be selected from is dead, and shows its input.
        outputs = sum(len(outcome.output or b"") for outcome in made.outcomes)
        await _hold(reservation, outputs + self._input_bytes(entry, "failed"))
        for outcome, raw in zip(made.outcomes, await self._raws(entry), strict=True):
            outcome.input = None if outcome.status == "completed" else raw
        return Settlement(entry, made.outcomes)


async def _done(work: Callable[[], T], size: int, records: int) -> T:
    """Return the result of work on so many bytes and records; much is done on a worker thread."""
    if size < _THREAD_BYTES and records < _THREAD_RECORDS:
        return work()
    return await anyio.to_thread.run_sync(work)


async def _hold(reservation: Reservation, size: int) -> None:
    """Hold so much; two that hold some and want more would wait for each other."""
    reservation.release()
    await reservation.acquire(size)
