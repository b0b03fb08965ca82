"""Senders: make a durable intent an accepted call: stage, invoke, repeat, or give up."""

from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher import failpoints, limits
from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import InvokeRequest, InvokeResponse, Location
from dispatcher.config.retry import RetrySettings
from dispatcher.config.settings import RequestSettings
from dispatcher.dispatch.acceptance import AcceptanceProbe
from dispatcher.dispatch.held_refusals import HeldRefusals, RefusedInvocation
from dispatcher.dispatch.oversize import NO_STAGING, OversizeHandler
from dispatcher.dispatch.staging.stager import NOT_ENCODABLE, Stager, not_encodable
from dispatcher.environment import Environment
from dispatcher.errors import CallError, Denied, OutcomeUnknown, Throttled, Transient
from dispatcher.flow.budget import MemoryBudget
from dispatcher.flow.channel import EagerReceiver
from dispatcher.ledger.ids import filename
from dispatcher.ledger.invocation import Planned
from dispatcher.ledger.ledger import REPEATED, Ledger
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.payloads.payloads import unreadable_payload
from dispatcher.ledger.states import State
from dispatcher.observe.events import CallFinished, CallResult, InvocationRepeated, Observer
from dispatcher.packing.values import NotEncodableError
from dispatcher.reasons import Reason
from dispatcher.retry.backoff import backoff
from dispatcher.retry.calls import FailedCall, GiveUp, Stop, after_failed_call
from dispatcher.retry.outage_timer import OutageTimer, TroubleBegan, TroubleEnded, outage

_REASONS: dict[CallResult, Reason] = {
    "transient": Reason.CALL_TRANSIENT,
    "unknown": Reason.CALL_UNKNOWN,
    "rejected": Reason.CALL_REJECTED,
}
"""Reasons of dead letters by the last call; throttling is waited out and never one."""

_REASONS_BY_CODE = {NOT_ENCODABLE: Reason.NOT_ENCODABLE, NO_STAGING: Reason.NO_STAGING}
"""Reasons of dead letters that were never offered to the service, by the error's code."""


_SYMPTOM = "no call has succeeded"
"""The trouble when calls fail, for the events and for the error that stops the run."""


class Invoker(Protocol):
    """InvokeEndpointAsync."""

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """Ask for an inference."""


@dataclass(slots=True)
class SenderState:
    """Facts that all senders of a run share.

    Attributes:
        succeeded_at: When a call last succeeded, or the run began; monotonic seconds.
        failing_since: When the first call failed after one that succeeded, or None.
        has_accepted: A call was accepted in this process.
        on_wire: Calls under way.
    """

    succeeded_at: float
    failing_since: float | None = None
    has_accepted: bool = False
    on_wire: int = 0


@dataclass(slots=True)
class _History:
    """The calls of one invocation, in this process and earlier ones.

    Attributes:
        unsure: A call may have been accepted unseen; it stays so, however later calls end.
        repeated: A call was made while unsure.
        staged: Where the payload lies in S3, once it does.
        since: When the first call failed; monotonic seconds, None before.
        failures: Number of calls that failed, throttling aside.
        pauses: Number of calls that failed.
    """

    unsure: bool
    repeated: bool = False
    staged: Location | None = None
    since: float | None = None
    failures: int = 0
    pauses: int = 0


@dataclass(slots=True, kw_only=True)
class Sender:
    """The sender loops of a run; ``run`` is one loop, and makes one call at a time.

    Attributes:
        endpoint: The endpoint's name.
        request: The section ``request``.
        retry: The section ``retry``.
        ledger: Has the payloads, and learns what is accepted.
        invoker: Makes the calls.
        staging: Puts large payloads into S3.
        oversize: Takes payloads that no longer fit inline.
        acceptance: Looks for the output of a call without an answer.
        held_refusals: Takes what is refused.
        memory: Bounds the payloads on the wire.
        observe: Gets the events.
        state: Shared by all loops.
        environment: Clocks and jitter.
    """

    endpoint: str
    request: RequestSettings
    retry: RetrySettings
    ledger: Ledger
    invoker: Invoker
    staging: Stager
    oversize: OversizeHandler
    acceptance: AcceptanceProbe
    held_refusals: HeldRefusals
    memory: MemoryBudget
    observe: Observer
    state: SenderState
    environment: Environment

    async def run(
        self,
        intents: MemoryObjectReceiveStream[Planned],
        settlements: MemoryObjectSendStream[list[Settlement]],
    ) -> None:
        """Send planned invocations until there are no more.

        Raises:
            RunStopped: No call is accepted any more, or the first ones were all refused.
        """
        async with intents, settlements:
            async for planned in EagerReceiver(intents):
                refused = await self._send(planned)
                if refused is not None:
                    await self.held_refusals.judge(refused, settlements)
                if self.held_refusals.is_holding:
                    await self.held_refusals.review(settlements)

    async def _send(self, planned: Planned) -> RefusedInvocation | None:
        """Send one invocation until it is accepted (None) or given up."""
        history = _History(unsure=planned.may_have_been_sent)
        while self._is_needed(planned):
            if history.unsure and await self._was_accepted(planned):
                return None
            try:
                await self._call(planned, history)
            except CallError as error:
                call = self._failed(error, planned, history)
                match after_failed_call(error, call, self.retry):
                    case GiveUp(look_first):
                        is_unsure = look_first or history.unsure
                        if is_unsure and await self._was_accepted(planned):
                            return None
                        return self._give_up(planned, error, history.pauses)
                    case Stop():
                        raise outage(_SYMPTOM, self.retry.give_up_after, error) from error
                    case repeat:
                        history.unsure |= repeat.look_first
                        await anyio.sleep(repeat.after)
            else:
                return None
        return None

    async def _was_accepted(self, planned: Planned) -> bool:
        """Look for the output of a call without a response, until S3 responds.

        Raises:
            RunStopped: It has not for ``retry.give_up_after``.
        """
        timer = OutageTimer(
            self.retry.give_up_after,
            self.environment.monotonic,
            "calls without an answer could not be looked up",
            forgets_gaps=False,
        )
        failures = 0
        while self._is_needed(planned):
            try:
                return await self.acceptance.was_accepted(planned)
            except CallError as error:
                timer.failed(error)
            failures += 1
            jitter, base = self.environment.rng.random(), self.retry.base
            await anyio.sleep(backoff(failures, base=base, cap=self.retry.cap, jitter=jitter))
        return True

    def _is_needed(self, planned: Planned) -> bool:
        """Return whether the call is still needed: its completion may have overtaken it."""
        entry = self.ledger.find(planned.number)
        return entry is not None and not entry.claimed and entry.state is State.PLANNED

    async def _call(self, planned: Planned, history: _History) -> None:
        if planned.route == "s3":
            if history.staged is None and (entry := self.ledger.find(planned.number)) is not None:
                # Stager holds its own part of the memory, and only as long as it needs it.
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
                if payload is None and self._is_needed(planned):
                    raise unreadable_payload(planned)
                if payload is None or len(payload) <= limits.INLINE_BODY_BYTES:
                    await self._invoke(planned, history, payload)
                    return
        history.staged = await self.oversize.handle(entry)
        if history.staged is not None:
            await self._invoke(planned, history, None)

    async def _invoke(self, planned: Planned, history: _History, payload: bytes | None) -> None:
        if not self._is_needed(planned):
            return  # it completed while this waited for memory or bytes
        if history.unsure and not history.repeated:
            history.repeated = True
            self.observe(InvocationRepeated())
            await self.ledger.count(REPEATED)
            if not self._is_needed(planned):
                return  # it completed meanwhile
        response = await self._make(self._request(planned, payload, history.staged))
        await self.acceptance.learn(planned, response.output_location, response.failure_location)
        output, failure = map(_plain, (response.output_location, response.failure_location))
        self.ledger.accept(planned, self.environment.now(), output, failure)
        failpoints.reach("dispatch.accepted")

    async def _make(self, request: InvokeRequest) -> InvokeResponse:
        """Make one call, and report how it ended."""
        state, monotonic = self.state, self.environment.monotonic
        state.on_wire += 1
        began = monotonic()
        try:
            failpoints.reach("dispatch.calling")
            response = await self.invoker.invoke(request)
            failpoints.reach("dispatch.answered")
        except (CallError, Denied) as error:
            now = monotonic()
            self.observe(CallFinished(_result(error), now - began))
            if state.failing_since is None:
                state.failing_since = now
                self.observe(TroubleBegan(_SYMPTOM, str(error)))
            raise
        finally:
            state.on_wire -= 1
        state.succeeded_at = monotonic()
        state.has_accepted = True
        self.observe(CallFinished("accepted", state.succeeded_at - began))
        if state.failing_since is not None:
            self.observe(TroubleEnded(_SYMPTOM, state.succeeded_at - state.failing_since))
            state.failing_since = None
        return response

    def _request(
        self, planned: Planned, payload: bytes | None, staged: Location | None
    ) -> InvokeRequest:
        request = self.request
        is_chosen = request.output_naming == "chosen"
        return InvokeRequest(
            endpoint=self.endpoint,
            inference_id=planned.id,
            content_type=planned.content_type,
            output_extension=planned.shard if is_chosen else None,
            filename=filename(planned.id) if is_chosen else None,
            body=payload,
            input_location=None if staged is None else str(staged),
            accept=request.accept,
            custom_attributes=request.custom_attributes,
            ttl=round(request.ttl),
            timeout=round(request.timeout),
        )

    def _failed(self, error: CallError, planned: Planned, history: _History) -> FailedCall:
        """Count a failed call; return the facts to decide by."""
        now, state = self.environment.monotonic(), self.state
        since = history.since = now if history.since is None else history.since
        history.pauses += 1
        history.failures += not isinstance(error, Throttled)
        return FailedCall(
            failures=history.failures,
            pauses=history.pauses,
            # Before the first failure there may have been no call at all: that is no outage.
            silence=now - max(state.succeeded_at, since),
            others_succeed=state.succeeded_at > since,
            failed_before=planned.may_have_been_sent
            and (state.has_accepted or len(self.ledger.planned()) == 1),
            jitter=self.environment.rng.random(),
        )

    def _give_up(self, planned: Planned, error: CallError, calls: int) -> RefusedInvocation | None:
        entry = self.ledger.find(planned.number)
        if entry is None or not self.ledger.claim(entry):
            return None
        message = str(error) if calls == 1 else f"{error}; the last of {calls} calls"
        reason = _REASONS_BY_CODE.get(error.code or "") or _REASONS[_result(error)]
        return RefusedInvocation(entry, reason, message)


def _plain(location: str | None) -> str | None:
    """Write a location in its one plain form, so that events which name it are recognised."""
    parsed = parse_location(location) if location else None
    return location if parsed is None else str(parsed)


def _result(error: CallError | Denied) -> CallResult:
    match error:
        case Throttled():
            return "throttled"
        case Transient():
            return "transient"
        case OutcomeUnknown():
            return "unknown"
        case Denied():
            return "denied"
        case _:
            return "rejected"
