"""What a completion and its answer mean for each record of an invocation. Pure."""

from dataclasses import dataclass

from dispatcher.completion.event import Completion
from dispatcher.config.packing import PackingSettings
from dispatcher.ledger.intent import Entry
from dispatcher.ledger.outcome import Outcome, Status
from dispatcher.packing.answers import Mismatch, Outputs, split
from dispatcher.sources.blob import Blob

_REFUSED = "client error ("
"""In the failure reason of an event: the container answered with a status of 400 to 499 (E)."""

_MESSAGE_CHARS = 2_000
"""How much of a container's error goes into a dead letter's message."""


@dataclass(slots=True)
class Answer:
    """What the service made of an invocation: a body, or why there is none."""

    body: bytes | None
    content_type: str | None
    reason: str = ""
    message: str = ""
    location: str | None = None


@dataclass(slots=True, frozen=True)
class Dead:
    """Why an invocation has no outputs."""

    status: Status
    reason: str
    message: str


def verdict_on(
    completion: Completion, answer: Answer, entry: Entry, packing: PackingSettings
) -> Outputs | Dead:
    """Return each record's own output, or why there is none."""
    if completion.kind == "expired":
        return Dead("expired", "expired", completion.reason or "no completion in time")
    if completion.kind == "failed":
        said = (answer.body or b"")[:_MESSAGE_CHARS].decode("utf-8", "replace")
        message = "; ".join(part for part in (completion.reason, said) if part)
        # Where only a failure object was found, nobody said whose fault it was.
        is_refused = _REFUSED in completion.reason
        reason = "model_error" if is_refused else "model_server_error"
        return Dead("failed", reason, message or "the container failed and left no message")
    if answer.body is None:
        return Dead("failed", answer.reason, answer.message)
    keys = [slip.key for slip in entry.slips]
    outputs = split(answer.body, answer.content_type, keys, packing)
    if isinstance(outputs, Mismatch):
        return Dead("failed", outputs.reason, outputs.message)
    return outputs


def outcomes_of(
    entry: Entry, answer: Answer, verdict: Outputs | Dead, raws: list[bytes | Blob | None]
) -> list[Outcome]:
    """Return one outcome for each record.

    Args:
        entry: The invocation.
        answer: What the service made of it.
        verdict: Each record's own output, or why there is none.
        raws: Each record's bytes, where the sink shows them.
    """
    if isinstance(verdict, Dead):
        return [
            Outcome(
                slip.position,
                slip.key,
                verdict.status,
                None,
                None,
                reason=verdict.reason,
                message=verdict.message,
                attempts=entry.attempt,
                input=raw,
            )
            for slip, raw in zip(entry.slips, raws, strict=True)
        ]
    return [
        Outcome(
            slip.position,
            slip.key,
            "completed",
            output,
            answer.content_type,
            attempts=entry.attempt,
            input=raw,
            is_json=verdict.are_json,
            location=answer.location,
        )
        for slip, output, raw in zip(entry.slips, verdict.values, raws, strict=True)
    ]
