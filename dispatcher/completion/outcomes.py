"""Outcomes: what a completion and its output mean for each record of an invocation. Pure."""

import base64
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace

from dispatcher.completion.event import Completion
from dispatcher.config.connectors import SinkSettings
from dispatcher.config.packing import PackingSettings
from dispatcher.flow.content import FileSlice
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.outcome import Meta, Outcome, Settlement
from dispatcher.packing.response_split import Mismatch, Outputs, split
from dispatcher.packing.select import SelectError, select
from dispatcher.packing.values import NotEncodableError, encode, parse
from dispatcher.reasons import Reason

_REFUSED = "client error ("
"""In the failure reason of an event: the container responded with a status of 400 to 499."""

_MESSAGE_CHARS = 2_000
"""Length of the part of a container's error that goes into a dead letter's message."""


@dataclass(slots=True)
class OutputObject:
    """The output or failure object of an invocation, or the reason why there is none.

    Attributes:
        body: Its bytes.
        content_type: Its MIME type, or None.
        reason: The reason why there is no body; None where there is one, or where the event's own
            reason has to do.
        message: A sentence with the reason.
        location: Where it lies in S3, if that is known.
    """

    body: bytes | None
    content_type: str | None
    _: KW_ONLY
    reason: Reason | None = None
    message: str = ""
    location: str | None = None


@dataclass(slots=True, frozen=True)
class InvocationFailure:
    """The reason why an invocation has no outputs."""

    reason: Reason
    message: str


def judged(
    completion: Completion,
    output: OutputObject,
    entry: Entry,
    *,
    raws: Sequence[bytes | FileSlice | None],
    packing: PackingSettings,
    sink: SinkSettings,
    max_output: int,
    now: float,
) -> Settlement | InvocationFailure:
    """Return what settles an invocation, or its failure; slow where much is parsed.

    Args:
        completion: The service's word on it.
        output: Its output or failure object.
        entry: The invocation.
        raws: Each record's bytes, where its result shows them.
        packing: The section ``packing``: how outputs are split.
        sink: The section ``sink``: what results show.
        max_output: Largest output, decompressed, in bytes.
        now: The time of its completion for ``sink.meta``, in epoch seconds.
    """
    verdict = verdict_on(completion, output, entry, packing, max_output=max_output)
    if isinstance(verdict, InvocationFailure):
        return verdict
    return settlement_of(entry, output, verdict, raws=raws, sink=sink, now=now)


def settlement_of(
    entry: Entry,
    output: OutputObject,
    verdict: Outputs | InvocationFailure,
    *,
    raws: Sequence[bytes | FileSlice | None],
    sink: SinkSettings,
    now: float,
) -> Settlement:
    """Return one outcome for each record, as the sink shows them; see ``judged``."""
    outcomes = outcomes_of(entry, output, verdict, raws)
    if sink.meta or sink.select is not None:
        planned = entry.planned
        meta = Meta(planned.id, planned.route, entry.planned_at, entry.accepted_at, now)
        for outcome in outcomes:
            outcome.meta = meta
    if sink.select is not None and not isinstance(verdict, InvocationFailure):
        outcomes = reshaped(outcomes, sink)
    return Settlement(entry, outcomes)


def verdict_on(
    completion: Completion,
    output: OutputObject,
    entry: Entry,
    packing: PackingSettings,
    *,
    max_output: int,
) -> Outputs | InvocationFailure:
    """Return each record's own output, or the failure."""
    if completion.kind == "expired":
        return InvocationFailure(Reason.EXPIRED, completion.reason or "no completion in time")
    if completion.kind == "failed":
        error = (output.body or b"")[:_MESSAGE_CHARS].decode("utf-8", "replace")
        message = "; ".join(part for part in (completion.reason, error) if part)
        # Where only a failure object was found, nothing says whose fault it was.
        is_refused = _REFUSED in completion.reason
        reason = Reason.MODEL_ERROR if is_refused else Reason.MODEL_SERVER_ERROR
        return InvocationFailure(reason, message or "the container failed and left no message")
    if output.body is None:
        assert output.reason is not None, "it comes with a body or a reason"
        return InvocationFailure(output.reason, output.message)
    keys = [record_ref.key for record_ref in entry.record_refs]
    outputs = split(output.body, output.content_type, keys, packing, max_bytes=max_output)
    if isinstance(outputs, Mismatch):
        return InvocationFailure(outputs.reason, outputs.message)
    return outputs


def outcomes_of(
    entry: Entry,
    output: OutputObject,
    verdict: Outputs | InvocationFailure,
    raws: Sequence[bytes | FileSlice | None],
) -> list[Outcome]:
    """Return one outcome for each record.

    Args:
        entry: The invocation.
        output: Its output or failure object.
        verdict: Each record's own output, or the failure.
        raws: Each record's bytes, where the sink shows them.
    """
    if isinstance(verdict, InvocationFailure):
        return [
            Outcome.dead(
                ref.position,
                ref.key,
                verdict.reason,
                verdict.message,
                attempts=entry.attempt,
                input=raw,
            )
            for ref, raw in zip(entry.record_refs, raws, strict=True)
        ]
    return [
        Outcome(
            record_ref.position,
            record_ref.key,
            "completed",
            value,
            verdict.content_type,
            attempts=entry.attempt,
            input=raw,
            is_json=verdict.are_json,
            location=output.location,
        )
        for record_ref, value, raw in zip(entry.record_refs, verdict.values, raws, strict=True)
    ]


def reshaped(outcomes: Sequence[Outcome], sink: SinkSettings) -> list[Outcome]:
    """Return completed outcomes with what ``sink.select`` makes of them as their output.

    It is evaluated over what a result line shows: key, status, output, meta, and the input where
    the sink joins it, which is then not written besides. Where that fails the record is dead.

    Args:
        outcomes: With inputs where the sink joins them, and with their meta.
        sink: Its ``select`` is set.
    """
    assert sink.select is not None
    reshaped_outcomes = []
    for outcome in outcomes:
        try:
            output = encode(select(sink.select, _document(outcome, sink)), "json")
        except (SelectError, NotEncodableError) as error:
            where = f"; the output is at {outcome.location}" if outcome.location else ""
            message = f"sink.select {error}{where}"
            reshaped_outcomes.append(
                replace(
                    outcome,
                    status=Reason.SELECT_FAILED.status,
                    output=None,
                    output_type=None,
                    reason=Reason.SELECT_FAILED,
                    message=message,
                )
            )
        else:
            reshaped_outcomes.append(replace(outcome, output=output, is_json=True, input=None))
    return reshaped_outcomes


def _document(outcome: Outcome, sink: SinkSettings) -> dict[str, object]:
    document = {
        "key": outcome.key,
        "status": outcome.status,
        "output": _value(outcome.output or b"", content_type=outcome.output_type),
        "meta": None if outcome.meta is None else outcome.meta.document(outcome.attempts),
    }
    if sink.join != "output" and outcome.input is not None:
        raw = outcome.input
        document["input"] = _value(raw.read() if isinstance(raw, FileSlice) else raw)
    return document


def _value(text: bytes, **about: object) -> object:
    try:
        return parse(text)
    except NotEncodableError:
        return {"base64": base64.b64encode(text).decode(), **about}
