"""The joiner: reads the output of a completion, splits it, and makes an outcome of each record.

Takes invocations that the listener or the sweep has claimed. Whether an event settles anything is
decided in ``event_matching``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher import failpoints
from dispatcher.completion.event import Completion, Kind
from dispatcher.completion.outcomes import InvocationFailure, OutputObject, judged, settlement_of
from dispatcher.completion.output_reader import OutputReader
from dispatcher.config.connectors import SinkSettings
from dispatcher.config.packing import PackingSettings
from dispatcher.config.retry import RetrySettings
from dispatcher.environment import Environment
from dispatcher.errors import CallError
from dispatcher.flow.budget import MemoryBudget, Reservation
from dispatcher.flow.channel import EagerReceiver, send_eagerly
from dispatcher.flow.content import LARGE_BYTES, ChangedError, FileSlice
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.payloads.payloads import unreadable_payload
from dispatcher.observe.events import InvocationRetried, InvocationSplit, Observer
from dispatcher.packing.response_split import decompressed_size
from dispatcher.retry.invocations import RetryInvocation, SplitBudget, after_failed_invocation
from dispatcher.retry.outage_timer import OutageTimer

T = TypeVar("T")

_THREAD_BYTES, _THREAD_RECORDS = 256_000, 500
"""Outputs from this size on are judged on a worker thread: that takes a few milliseconds, or ten
with a select."""


@dataclass(slots=True)
class Claimed:
    """A completion with the invocation that it settles."""

    entry: Entry
    completion: Completion


@dataclass(slots=True, kw_only=True)
class Joiner:
    """The joiner loops of a run; ``run`` is one loop.

    Attributes:
        packing: The section ``packing``: how outputs are split.
        sink: The section ``sink``: what results show.
        retry: The section ``retry``.
        max_output: ``completion.max_output``, in bytes.
        ledger: Settles and replaces invocations.
        outputs: Reads outputs.
        memory: Bounds the outputs, and the inputs beside them.
        outage: Ends the run when S3 does not respond.
        split_budget: Bounds the invocations that are made of parts.
        observe: Gets the events.
        resend: Takes new invocations to send when they are due.
        environment: Clocks and jitter.
    """

    packing: PackingSettings
    sink: SinkSettings
    retry: RetrySettings
    max_output: int
    ledger: Ledger
    outputs: OutputReader
    memory: MemoryBudget
    outage: OutageTimer
    split_budget: SplitBudget
    observe: Observer
    resend: Callable[[Planned], None]
    environment: Environment

    async def run(
        self,
        claims: MemoryObjectReceiveStream[Claimed],
        settlements: MemoryObjectSendStream[list[Settlement]],
        receipts: MemoryObjectSendStream[list[str]],
    ) -> None:
        """Settle what is claimed until there is no more.

        Raises:
            Denied: Outputs may not be read.
            RunStopped: AWS has not responded for too long.
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
        """Settle one claim, in a frame of its own: a loop would hold the output until the next."""
        reservation = Reservation(self.memory)
        try:
            match await self.settle(claimed, reservation):
                case Settlement() as settled:
                    failpoints.reach("completion.joined")
                    settled.reservation = reservation  # held until the outcomes are written
                    await send_eagerly(settlements, [settled])
                case RetryInvocation() as retry:
                    reservation.release()
                    await self._replace(claimed.entry, retry, receipts)
                case None:
                    reservation.release()
                    self._release(claimed)
        except BaseException:
            reservation.release()
            raise

    def _release(self, claimed: Claimed) -> None:
        """Give back the claim on an invocation: a later event or sweep settles it."""
        entry, completion = claimed.entry, claimed.completion
        location = None if completion.location is None else str(completion.location)
        is_output = completion.kind == "completed"
        output, failure = (location, None) if is_output else (None, location)
        # It completed, so it was accepted, even where no 202 said so: no sender calls it again,
        # and the sweep has to look for it.
        self.ledger.accept(entry.planned, self.environment.now(), output, failure)
        self.ledger.release(entry)

    async def _replace(
        self, entry: Entry, retry: RetryInvocation, receipts: MemoryObjectSendStream[list[str]]
    ) -> None:
        """Retry or split a failed invocation."""
        if retry.parts > 1:  # before the split: other loops decide by the budget meanwhile
            self.split_budget.made += retry.parts
            self.observe(InvocationSplit(retry.parts))
        with anyio.CancelScope(shield=True):  # the run has to wait for what is planned
            for planned in await self.ledger.replace(entry, after=retry.after, parts=retry.parts):
                self.resend(planned)
        if retry.parts > 1:
            failpoints.reach("completion.split")
        else:
            self.observe(InvocationRetried(retry.reason))
        if entry.acks:
            await receipts.send(entry.acks)

    async def settle(
        self, claimed: Claimed, reservation: Reservation
    ) -> Settlement | RetryInvocation | None:
        """Return the outcomes of an invocation, or None if its output cannot be read for now.

        The memory that they take is held by ``reservation``.
        """
        entry, completion = claimed.entry, claimed.completion
        if entry.payload is None:
            return None  # lost with the power; the intake is reading it again
        inputs = self._input_bytes(entry, completion.kind)
        try:
            output = await self.outputs.read(entry, completion, reservation, input_bytes=inputs)
        except CallError as error:
            self.outage.failed(error)
            return None
        judgement = await self._judge(claimed, output, reservation)
        if isinstance(judgement, Settlement):
            return judgement
        decision = after_failed_invocation(
            judgement.reason,
            tries=entry.tries,
            records=len(entry.record_refs),
            budget=self.split_budget,
            retry=self.retry,
            jitter=self.environment.rng.random(),
        )
        if isinstance(decision, RetryInvocation):
            return decision
        if decision.note:
            judgement = replace(judgement, message=f"{judgement.message}; {decision.note}")
        output.body = None  # in its place the dead letters carry the records
        await _hold(reservation, self._input_bytes(entry, "failed"))
        raws, now = await self._raws(entry), self.environment.now()
        settle = partial(
            settlement_of, entry, output, judgement, raws=raws, sink=self.sink, now=now
        )
        return await _run(settle, 0, len(raws))

    async def _raws(self, entry: Entry) -> list[bytes | FileSlice | None]:
        raws = await self.ledger.raws(entry)
        if None in raws:
            raise unreadable_payload(entry.planned)
        return raws

    def _input_bytes(self, entry: Entry, kind: Kind) -> int:
        """Return how many bytes of input the outcomes will carry in memory."""
        size = entry.planned.size
        if self._parses_inputs(kind):
            return size
        needed = kind != "completed" or self.sink.join != "output"
        return size if needed and size < LARGE_BYTES else 0

    def _parses_inputs(self, kind: Kind) -> bool:
        sink = self.sink
        return kind == "completed" and sink.join != "output" and sink.select is not None

    async def _judge(
        self, claimed: Claimed, output: OutputObject, reservation: Reservation
    ) -> Settlement | InvocationFailure:
        """Split an output, and reshape the results; large ones on a worker thread."""
        entry, completion = claimed.entry, claimed.completion
        kind, sink = completion.kind, self.sink
        size = len(output.body or b"")
        if output.body and kind == "completed" and "encoding" in (output.content_type or ""):
            size += await anyio.to_thread.run_sync(
                decompressed_size, output.body, output.content_type, self.max_output
            )
            await _hold(reservation, size + self._input_bytes(entry, kind))
        raws: Sequence[bytes | FileSlice | None] = [None] * len(entry.record_refs)
        if kind == "completed" and output.body is not None and sink.join != "output":
            raws = await self._raws(entry)
        if self._parses_inputs(kind):
            size += entry.planned.size
        judge = partial(
            judged,
            completion,
            output,
            entry,
            raws=raws,
            packing=self.packing,
            sink=sink,
            max_output=self.max_output,
            now=self.environment.now(),
        )
        try:
            judgement = await _run(judge, size, len(entry.record_refs))
        except ChangedError as error:
            raise unreadable_payload(entry.planned) from error
        if isinstance(judgement, InvocationFailure) or sink.select is None or sink.join != "output":
            return judgement
        if all(outcome.status == "completed" for outcome in judgement.outcomes):
            return judgement
        # A record whose select failed is dead, and shows its input.
        outputs = sum(len(outcome.output or b"") for outcome in judgement.outcomes)
        await _hold(reservation, outputs + self._input_bytes(entry, "failed"))
        for outcome, raw in zip(judgement.outcomes, await self._raws(entry), strict=True):
            outcome.input = None if outcome.status == "completed" else raw
        return Settlement(entry, judgement.outcomes)


async def _run(work: Callable[[], T], size: int, records: int) -> T:
    """Return the result of work on this many bytes and records; much runs on a worker thread."""
    if size < _THREAD_BYTES and records < _THREAD_RECORDS:
        return work()
    return await anyio.to_thread.run_sync(work)


async def _hold(reservation: Reservation, size: int) -> None:
    """Hold exactly this much; two joiners that each hold some and want more would deadlock."""
    reservation.release()
    await reservation.acquire(size)
