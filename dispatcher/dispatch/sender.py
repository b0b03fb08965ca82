"""From a durable intent to an accepted call: stage if need be, invoke, repeat, or give up."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher import failpoints, limits
from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import InvokeRequest, InvokeResponse, Location
from dispatcher.config.settings import Config
from dispatcher.dispatch.acceptance import AcceptanceProbe
from dispatcher.dispatch.oversize import NO_STAGING, OversizeHandler
from dispatcher.dispatch.staging.staging import NOT_ENCODABLE, Staging, not_encodable
from dispatcher.errors import (
    CallError,
    Denied,
    OutcomeUnknown,
    RunStopped,
    Throttled,
    Transient,
)
from dispatcher.flow.budget import MemoryBudget, Reservation
from dispatcher.flow.channel import EagerReceiver
from dispatcher.ledger.ids import filename
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import REPEATED, Ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.ledger.payloads.payloads import unreadable_payload
from dispatcher.ledger.states import State
from dispatcher.observe.meter import Meter
from dispatcher.packing.values import NotEncodableError
from dispatcher.retry.calls import Attempt, GiveUp, Stop, decide

_ALL_REFUSED = 10
"""So many refused requests, and none accepted, mean that it is not the records' fault."""

_RECORDS_FAULT = {NOT_ENCODABLE: "not_encodable", NO_STAGING: "no_staging"}
"""Reasons of dead letters whose records were never offered to the service, by the error's code."""


class Invoker(Protocol):
    """InvokeEndpointAsync."""

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """Ask for an inference."""


@dataclass(slots=True)
class SenderState:
    """What all senders of a run learn from each other.

    Attributes:
        succeeded_at: When a call last succeeded, or the run began; monotonic seconds.
        accepted: One was accepted by this process.
        is_stopping: A signal has closed the head; what is undecided is left to the next process.
        refused: Requests that were refused, held back until something is accepted.
    """

    succeeded_at: float
    accepted: bool = False
    is_stopping: bool = False
    refused: list["_Refused"] = field(default_factory=list)


@dataclass(slots=True)
class _Refused:
    """An invocation that is claimed, and will not be accepted.

    Attributes:
        entry: The invocation.
        reason: The stable code of its records' dead letters.
        message: Their sentence.
    """

    entry: Entry
    reason: str
    message: str


@dataclass(slots=True)
class _History:
    """What this process and earlier ones tried for one invocation.

    Attributes:
        unsure: A call may have been accepted unseen; it stays so, whatever later calls answer.
        repeated: A call was made while unsure.
        staged: Where the payload lies in S3, once it does.
        since: When the first call failed; monotonic seconds, None before.
        failures: How many calls failed, throttling aside.
        pauses: How many calls failed.
    """

    unsure: bool
    repeated: bool = False
    staged: Location | None = None
    since: float | None = None
    failures: int = 0
    pauses: int = 0


@dataclass(slots=True)
class Sender:
    """What the sender loops of a run reservation; ``run`` is one loop, and calls one at a time."""

    config: Config
    ledger: Ledger
    invoker: Invoker
    staging: Staging
    refitting: OversizeHandler
    evidence: AcceptanceProbe
    memory: MemoryBudget
    meter: Meter
    wire: SenderState
    monotonic: Callable[[], float]
    now: Callable[[], float]
    rng: random.Random = field(default_factory=random.Random)

    async def run(
        self,
        intents: MemoryObjectReceiveStream[Planned],
        settlements: MemoryObjectSendStream[list[Settlement]],
    ) -> None:
        """Send what is planned until there is no more.

        While nothing was ever accepted, refused requests are held back: what is wrong for all of
        them (an endpoint that is not asynchronous, a content type it does not take) must not turn
        the input into dead letters. What was never offered to it is its record's fault alone.

        Raises:
            RunStopped: Nothing is accepted any more, or nothing at all, and why.
        """
        async with intents, settlements:
            async for planned in EagerReceiver(intents):
                given_up = await self._send(planned)
                if given_up is not None and given_up.reason in _RECORDS_FAULT.values():
                    await self._settle(given_up, settlements)
                elif given_up is not None:
                    self.wire.refused.append(given_up)
                    # Nobody waits for it until it is known whose fault it is.
                    self.ledger.leave_to_next_process([planned.number])
                if self.ledger.has_accepted:
                    await self._release(settlements)
                elif len(self.wire.refused) >= min(_ALL_REFUSED, self.config.limits.outstanding):
                    raise _none_accepted(self.wire.refused)

    async def conclude(self, settlements: MemoryObjectSendStream[list[Settlement]]) -> None:
        """Decide on refused requests when nothing else is outstanding.

        They are their records' fault; but if nothing was ever accepted and the run is stopped, the
        next process tries them again: they may have been mended by then.
        """
        if self.wire.is_stopping and not self.ledger.has_accepted:
            for refused in self.wire.refused:
                refused.entry.claimed = False
            self.wire.refused.clear()
        await self._release(settlements)

    async def _release(self, settlements: MemoryObjectSendStream[list[Settlement]]) -> None:
        while self.wire.refused:
            refused = self.wire.refused.pop(0)
            self.ledger.reclaim(refused.entry.planned.number)
            await self._settle(refused, settlements)

    async def _settle(
        self, refused: _Refused, settlements: MemoryObjectSendStream[list[Settlement]]
    ) -> None:
        reservation = Reservation(self.memory)
        try:
            await reservation.acquire(refused.entry.planned.size)
            settlement = Settlement(refused.entry, await self._dead(refused), reservation)
            await settlements.send([settlement])
        except BaseException:
            reservation.release()
            raise

    async def _dead(self, refused: _Refused) -> list[Outcome]:
        record_refs = refused.entry.record_refs
        return [
            Outcome(
                record_ref.position,
                record_ref.key,
                "rejected",
                None,
                None,
                reason=refused.reason,
                message=refused.message,
                attempts=refused.entry.attempt,
                input=raw,
            )
            for record_ref, raw in zip(
                record_refs, await self.ledger.raws(refused.entry), strict=True
            )
        ]

    async def _send(self, planned: Planned) -> _Refused | None:
        """Send one invocation until it is accepted (None) or given up."""
        history = _History(unsure=planned.may_have_been_sent)
        while self._is_ours(planned):
            if history.unsure and await self._was_accepted(planned):
                return None
            try:
                await self._call(planned, history)
            except CallError as error:
                match decide(error, self._attempt(error, planned, history), self.config.retry):
                    case GiveUp(look_first):
                        is_unsure = look_first or history.unsure
                        if is_unsure and await self._was_accepted(planned):
                            return None
                        return self._give_up(planned, error, history.pauses)
                    case Stop():
                        raise self._stopped(error) from error
                    case repeat:
                        history.unsure |= repeat.look_first
                        await anyio.sleep(repeat.after)
            else:
                return None
        return None

    async def _was_accepted(self, planned: Planned) -> bool:
        """Look for what an unanswered call made, until somebody can see.

        Raises:
            RunStopped: Nobody could for ``retry.give_up_after``.
        """
        policy, since, pause = self.config.retry, self.monotonic(), 0.0
        while self._is_ours(planned):
            try:
                return await self.evidence.accepted(planned)
            except CallError as error:
                if self.monotonic() - since >= policy.give_up_after:
                    raise RunStopped(
                        "what became of a call without an answer cannot be looked up; the last "
                        f"error: {error}. Run the same command again when S3 answers"
                    ) from error
            pause = min(policy.cap, max(policy.base, 2 * pause))
            await anyio.sleep(pause * (0.5 + 0.5 * self.rng.random()))
        return True

    def _is_ours(self, planned: Planned) -> bool:
        """Return whether the call is still wanted: its completion may have overtaken it."""
        entry = self.ledger.find(planned.number)
        return entry is not None and not entry.claimed and entry.state is State.PLANNED

    async def _call(self, planned: Planned, history: _History) -> None:
        if planned.route == "s3":
            if history.staged is None and (entry := self.ledger.find(planned.number)) is not None:
                # It holds what it takes of the memory itself, and only as long as it takes it.
                history.staged = await self.staging.stage(entry)
            await self._invoke(planned, history, None)
            return
        async with self.memory.reserve(planned.size):
            entry = self.ledger.find(planned.number)
            if entry is None:
                return
            try:
                payload = await self.ledger.payload(entry)
            except NotEncodableError as error:
                # Another version's rules refuse what was encoded before: one of the records.
                if len(entry.record_refs) == 1:
                    raise not_encodable(planned, error) from None
            else:
                if payload is None and self._is_ours(planned):
                    raise unreadable_payload(planned)
                if payload is None or len(payload) <= limits.INLINE_BODY_BYTES:
                    await self._invoke(planned, history, payload)
                    return
        history.staged = await self.refitting.refit(entry)
        if history.staged is not None:
            await self._invoke(planned, history, None)

    async def _invoke(self, planned: Planned, history: _History, payload: bytes | None) -> None:
        if not self._is_ours(planned):
            return  # it completed while this waited for memory or bytes
        if history.unsure and not history.repeated:
            history.repeated = True
            self.meter.repeated += 1
            await self.ledger.count(REPEATED)
            if not self._is_ours(planned):
                return  # it completed meanwhile
        self.meter.on_wire += 1
        began = self.monotonic()
        try:
            failpoints.reach("dispatch.calling")
            answer = await self.invoker.invoke(self._request(planned, payload, history.staged))
            failpoints.reach("dispatch.answered")
        except CallError as error:
            self.meter.calls[_result(error)] += 1
            raise
        except Denied:
            self.meter.calls["denied"] += 1
            raise
        finally:
            self.meter.on_wire -= 1
        self.wire.succeeded_at = self.monotonic()
        self.wire.accepted = True
        self.meter.calls["accepted"] += 1
        self.meter.call_latency.add(self.wire.succeeded_at - began)
        await self.evidence.learn(planned, answer.output_location, answer.failure_location)
        output, failure = map(_plain, (answer.output_location, answer.failure_location))
        self.ledger.accept(planned, self.now(), output, failure)
        failpoints.reach("dispatch.accepted")

    def _request(
        self, planned: Planned, payload: bytes | None, staged: Location | None
    ) -> InvokeRequest:
        request = self.config.request
        chosen = request.output_naming == "chosen"
        return InvokeRequest(
            endpoint=self.config.endpoint.name,
            inference_id=planned.id,
            content_type=planned.content_type,
            output_extension=planned.shard if chosen else None,
            filename=filename(planned.id) if chosen else None,
            body=payload,
            input_location=None if staged is None else str(staged),
            accept=request.accept,
            custom_attributes=request.custom_attributes,
            ttl=round(request.ttl),
            timeout=round(request.timeout),
        )

    def _attempt(self, error: CallError, planned: Planned, history: _History) -> Attempt:
        """Count a failed call; return what is to be weighed."""
        now = self.monotonic()
        since = history.since = now if history.since is None else history.since
        history.pauses += 1
        history.failures += not isinstance(error, Throttled)
        return Attempt(
            failures=history.failures,
            pauses=history.pauses,
            # Before the first failure nobody may have called at all: that is no outage.
            silence=now - max(self.wire.succeeded_at, since),
            others_succeed=self.wire.succeeded_at > since,
            again=planned.may_have_been_sent
            and (self.wire.accepted or len(self.ledger.planned()) == 1),
            jitter=self.rng.random(),
        )

    def _give_up(self, planned: Planned, error: CallError, calls: int) -> _Refused | None:
        entry = self.ledger.find(planned.number)
        if entry is None or not self.ledger.claim(entry):
            return None
        message = str(error) if calls == 1 else f"{error}; the last of {calls} calls"
        reason = _RECORDS_FAULT.get(error.code or "", f"call_{_result(error)}")
        return _Refused(entry, reason, message)

    def _stopped(self, error: CallError) -> RunStopped:
        minutes = self.config.retry.give_up_after / 60
        return RunStopped(
            f"no call has succeeded for {minutes:.3g} minutes; the last error: {error}. The run "
            "stopped with its state kept: run the same command again when the service is back"
        )


def _plain(location: str | None) -> str | None:
    """Write a location in one way, so that events which name it can be told."""
    parsed = parse_location(location) if location else None
    return location if parsed is None else str(parsed)


def _none_accepted(refused: Sequence[_Refused]) -> RunStopped:
    return RunStopped(
        f"the first {len(refused)} requests were all refused, and none was accepted: "
        f"{refused[-1].message}. "
        "Nothing became a dead letter. Correct the configuration or the endpoint, then run the "
        "same command again"
    )


def _result(error: CallError) -> str:
    match error:
        case Throttled():
            return "throttled"
        case Transient():
            return "transient"
        case OutcomeUnknown():
            return "unknown"
        case _:
            return "rejected"
