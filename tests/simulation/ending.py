"""The laws of the end of a run: the outcome of each record. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.simulation.history import Answer, Final, Line, Sink, Terms
from tests.simulation.splits import Splits
from tests.simulation.staged import Inputs

DIVISIBLE = (
    "model_error",
    "model_server_error",
    "expired",
    "count_mismatch",
    "bad_answer",
    "id_mismatch",
    "output_too_large",
)
"""Reasons that no record can be blamed for while several share an invocation."""


@dataclass(slots=True)
class Lived:
    """The lives of records, by their numbers.

    Attributes:
        attempts: Invocations that were planned for each.
        came: What their invocations came to.
        called: When it was first called for, in seconds.
        taken: When the service first accepted one, in seconds.
        answers: How their calls were answered.
        splits: What was split of their invocations.
        inputs: What became of payloads in S3.
    """

    attempts: Counter[int] = field(default_factory=Counter)
    came: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    called: dict[int, float] = field(default_factory=dict)
    taken: dict[int, float] = field(default_factory=dict)
    answers: defaultdict[int, Counter[Answer]] = field(default_factory=lambda: defaultdict(Counter))
    splits: Splits = field(default_factory=Splits)
    inputs: Inputs = field(default_factory=Inputs)


def judge(final: Final, terms: Terms, lived: Lived, now: float) -> Iterator[tuple[str, str]]:
    """Yield the laws that the end breaks, and how."""
    lines: dict[Sink, tuple[Line, ...]] = {"results": final.results, "dead": final.dead}
    for name, held in lines.items():
        if name not in terms.queues:
            yield from _once(name, held)
    for line in final.results:
        if line.verdict != "right":
            yield "the right output", f"record {line.record}: {line.verdict}"
        elif "completed" not in lived.came[line.record]:
            yield "the right output", f"record {line.record} never completed"
    for line in final.dead:
        if why_not := _unjust(line, terms, lived, now):
            yield "dead for a reason", f"record {line.record}: {why_not}"
        if line.verdict in DIVISIBLE and lived.splits.has_company(line.record, terms):
            text = f"record {line.record} is dead with {lived.splits.last[line.record]}"
            yield "dead on its own", text
    yield from lived.splits.judge(terms, final.parts)
    yield from lived.inputs.judge(final, terms)
    seen = Counter(line.record for line in (*final.results, *final.dead))
    for line in (*final.results, *final.dead):
        made = lived.attempts[line.record]
        # What a queue got twice may have come before the last invocation.
        if line.attempts is not None and (
            line.attempts > made or (line.attempts < made and not terms.queues)
        ):
            text = f"record {line.record} counts {line.attempts} invocations, {made} were made"
            yield "attempts counted", text
    for record in sorted(terms.records):
        if not seen[record] and record in final.unread:
            yield "the source is used up", f"the message of {record} is still there"
        elif not seen[record]:
            yield "nothing lost", f"record {record} has no line"
        elif seen[record] > 1 and not terms.queues:
            yield "one line a record", f"record {record} has {seen[record]} lines"
    if strangers := seen.keys() - terms.records:
        yield "one line a record", f"lines of {sorted(strangers)}, which are no records"


def _once(name: Sink, held: tuple[Line, ...]) -> Iterator[tuple[str, str]]:
    """A file holds no line twice, whatever else the outcomes go to."""
    for record, count in Counter(line.record for line in held).items():
        if count > 1:
            yield "one line a record", f"record {record} is {count} times in {name}"


def _unjust(line: Line, terms: Terms, lived: Lived, now: float) -> str:
    """Return why a record cannot be dead for a reason; "" if it can."""
    record, reason = line.record, line.verdict
    came, answers = lived.came[record], lived.answers[record]
    refusal = terms.refusals.get(record)
    if refusal is not None:
        return "" if reason == refusal else f"{reason} instead of {refusal}"
    match reason:
        case "model_error" | "model_server_error":
            just = "failed" in came
        case "count_mismatch" | "bad_answer" | "id_mismatch":
            just = "garbled" in came
        case "expired":
            taken = lived.taken.get(record)
            just = "expired" in came or (taken is not None and now - taken >= terms.deadline)
        case "call_rejected":
            just = bool(answers["rejected"])
        case "call_transient" | "call_unknown":
            failures = answers["transient"] + answers["unknown"]
            tried_for = now - lived.called.get(record, now)
            # One that fails for so long, in one process after another, is given up, too.
            just = failures >= terms.attempts or (failures > 0 and tried_for >= terms.patience)
        case _:
            just = False
    return "" if just else f"{reason}, which cannot be"
