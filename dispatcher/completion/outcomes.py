"""What a completion and its answer mean for each record of an invocation. Pure."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dispatcher.completion.event import Completion
from dispatcher.config.connectors import SinkSettings
from dispatcher.config.settings import Config
from dispatcher.flow.content import FileSlice
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.outcome import Meta, Outcome, Settlement
from dispatcher.packing.response_split import Mismatch, Outputs, split
from dispatcher.packing.select import SelectError, select
from dispatcher.packing.values import NotEncodableError, encode, parse
from dispatcher.reasons import Status

_REFUSED = "client error ("
"""In the failure reason of an event: the container answered with a status of 400 to 499 (E)."""

_MESSAGE_CHARS = 2_000
"""How much of a container's error goes into a dead letter's message."""


@dataclass(slots=True)
class OutputObject:
    """What the service made of an invocation: a body, or why there is none."""

    body: bytes | None
    content_type: str | None
    reason: str = ""
    message: str = ""
    location: str | None = None


@dataclass(slots=True, frozen=True)
class FailedOutcome:
    """Why an invocation has no outputs."""

    status: Status
    reason: str
    message: str


def judged(
    completion: Completion,
    answer: OutputObject,
    entry: Entry,
    *,
    raws: Sequence[bytes | FileSlice | None],
    config: Config,
    now: float,
) -> Settlement | FailedOutcome:
    """Return what settles an invocation, or why it has no outputs; takes long where much is parsed.

    Args:
        completion: What the service said of it.
        answer: What it made of it.
        entry: The invocation.
        raws: Each record's bytes, where a completed one shows them.
        config: How answers are split, and what results show.
        now: When it completed, for them to tell.
    """
    verdict = verdict_on(completion, answer, entry, config)
    if isinstance(verdict, FailedOutcome):
        return verdict
    return settlement_of(entry, answer, verdict, raws=raws, sink=config.sink, now=now)


def settlement_of(
    entry: Entry,
    answer: OutputObject,
    verdict: Outputs | FailedOutcome,
    *,
    raws: Sequence[bytes | FileSlice | None],
    sink: SinkSettings,
    now: float,
) -> Settlement:
    """Return one outcome for each record, as the sink is to show them, see ``judged``."""
    outcomes = outcomes_of(entry, answer, verdict, raws)
    if sink.meta or sink.select is not None:
        planned = entry.planned
        meta = Meta(planned.id, planned.route, entry.planned_at, entry.accepted_at, now)
        for outcome in outcomes:
            outcome.meta = meta
    if sink.select is not None and not isinstance(verdict, FailedOutcome):
        outcomes = reshaped(outcomes, sink)
    return Settlement(entry, outcomes)


def verdict_on(
    completion: Completion, answer: OutputObject, entry: Entry, config: Config
) -> Outputs | FailedOutcome:
    """Return each record's own output, or why there is none."""
    if completion.kind == "expired":
        return FailedOutcome("expired", "expired", completion.reason or "no completion in time")
    if completion.kind == "failed":
        said = (answer.body or b"")[:_MESSAGE_CHARS].decode("utf-8", "replace")
        message = "; ".join(part for part in (completion.reason, said) if part)
        # Where only a failure object was found, nobody said whose fault it was.
        is_refused = _REFUSED in completion.reason
        reason = "model_error" if is_refused else "model_server_error"
        return FailedOutcome(
            "failed", reason, message or "the container failed and left no message"
        )
    if answer.body is None:
        return FailedOutcome("failed", answer.reason, answer.message)
    keys = [record_ref.key for record_ref in entry.record_refs]
    most = config.completion.max_output
    outputs = split(answer.body, answer.content_type, keys, config.packing, most=most)
    if isinstance(outputs, Mismatch):
        return FailedOutcome("failed", outputs.reason, outputs.message)
    return outputs


def outcomes_of(
    entry: Entry,
    answer: OutputObject,
    verdict: Outputs | FailedOutcome,
    raws: Sequence[bytes | FileSlice | None],
) -> list[Outcome]:
    """Return one outcome for each record.

    Args:
        entry: The invocation.
        answer: What the service made of it.
        verdict: Each record's own output, or why there is none.
        raws: Each record's bytes, where the sink shows them.
    """
    if isinstance(verdict, FailedOutcome):
        return [
            Outcome(
                record_ref.position,
                record_ref.key,
                verdict.status,
                None,
                None,
                reason=verdict.reason,
                message=verdict.message,
                attempts=entry.attempt,
                input=raw,
            )
            for record_ref, raw in zip(entry.record_refs, raws, strict=True)
        ]
    return [
        Outcome(
            record_ref.position,
            record_ref.key,
            "completed",
            output,
            verdict.content_type,
            attempts=entry.attempt,
            input=raw,
            is_json=verdict.are_json,
            location=answer.location,
        )
        for record_ref, output, raw in zip(entry.record_refs, verdict.values, raws, strict=True)
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
    made = []
    for outcome in outcomes:
        try:
            output = encode(select(sink.select, _document(outcome, sink)), "json")
        except (SelectError, NotEncodableError) as error:
            lies = f"; the output is at {outcome.location}" if outcome.location else ""
            message = f"sink.select {error}{lies}"
            made.append(
                replace(
                    outcome,
                    status="failed",
                    output=None,
                    output_type=None,
                    reason="select_failed",
                    message=message,
                )
            )
        else:
            made.append(replace(outcome, output=output, is_json=True, input=None))
    return made


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
