"""The summary of a run: its balance, dead letters by reason, routes, latencies and troubles."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import orjson
from rich.text import Text

from dispatcher.observe import number_format
from dispatcher.observe.balance import balance_of
from dispatcher.observe.console import open_console
from dispatcher.observe.histogram import Histogram
from dispatcher.observe.meter import Meter

_PERCENTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """The end of a run, which the summary shows beside the meter.

    Attributes:
        seconds: Time that this process ran.
        ending: A sentence such as ``finished`` or ``stopped by SIGTERM``.
        finished: The whole input is settled, so the balance must be even.
        results: Place of the results.
        dead_letters: Place of the dead letters.
        advice: The next step, where there is one; else None.
    """

    seconds: float
    ending: str
    finished: bool
    results: str
    dead_letters: str
    advice: str | None = None


def write_summary(meter: Meter, summary: RunSummary, stream: TextIO) -> None:
    """Write the summary, in colour where the stream is a terminal that shows it.

    Raises:
        OSError: The stream cannot be written.
    """
    console = open_console(stream)
    for line in summary_lines(meter, summary):
        console.print(line)


def summary_lines(meter: Meter, summary: RunSummary) -> Iterator[Text]:
    """Yield the summary line by line; the plain text of a line is what a file shows."""
    balance = balance_of(meter)
    settled = balance.completed + balance.dead - meter.resumed_from
    yield Text()
    yield Text.assemble(
        (summary.ending, "bold"), f" after {_duration(summary.seconds)}", _pace(settled, summary)
    )
    holds = balance.holds(finished=summary.finished)
    yield Text(str(balance), "bold green" if holds and not balance.dead else "bold")
    if not holds:
        yield Text("the balance does not hold: this is a bug, please keep the ledger", "bold red")
    if meter.resumed_from:
        yield Text(f"{meter.resumed_from:,} of these were settled by earlier runs of this ledger")
    yield from _reasons(meter)
    yield from _routes(meter)
    yield from _latencies(meter)
    yield from _calls(meter)
    yield Text()
    rows = [["results", summary.results], ["dead letters", summary.dead_letters]]
    yield from map(Text, number_format.columns(rows, left=2))
    if summary.advice:
        yield Text()
        yield Text(summary.advice)


def summary_json(meter: Meter, summary: RunSummary) -> str:
    """Return the summary as one JSON object on one line, its durations in seconds."""
    balance = balance_of(meter)
    return orjson.dumps(
        {
            "event": "summary",
            **dataclasses.asdict(summary),
            **dataclasses.asdict(balance),
            "unfinished": balance.unfinished,
            "balanced": balance.holds(finished=summary.finished),
            "resumed_from": meter.resumed_from,
            "dead_reasons": dict(meter.dead_reasons),
            "invocations": dict(meter.invocations),
            "records": dict(meter.records),
            "payload_bytes": dict(meter.payload_bytes),
            "calls": dict(meter.calls),
            "repeated": meter.repeated,
            "retried": dict(meter.retried),
            "split": meter.split,
            "parts": meter.parts,
            "events": dict(meter.events),
            "failed_requests": dict(meter.failed_requests),
            "sweep_requests": dict(meter.sweep_requests),
            "sweep_completions": meter.sweep_completions,
            "event_outages": meter.event_outages,
            "staged": dict(meter.staged),
            "latency": {
                name: {
                    "count": histogram.count,
                    **{label: histogram.percentile(share) for label, share in _PERCENTILES},
                    "max": histogram.largest,
                }
                for name, histogram in _histograms(meter)
            },
        }
    ).decode()


def _pace(settled: int, summary: RunSummary) -> str:
    if settled <= 0 or summary.seconds <= 0:
        return ""
    return f", {number_format.rate(settled / summary.seconds)} on average"


def _duration(seconds: float) -> str:
    return number_format.latency(seconds) if seconds < 10 else number_format.span(seconds)


def _table(rows: list[list[str]]) -> Iterator[Text]:
    """Yield an empty line, a dim heading and aligned rows."""
    yield Text()
    heading, *body = number_format.columns(rows)
    yield Text(heading, "dim")
    yield from map(Text, body)


def _reasons(meter: Meter) -> Iterator[Text]:
    if meter.dead_reasons:
        rows = [["dead letters by reason", "records"]]
        rows += [[reason, f"{n:,}"] for reason, n in meter.dead_reasons.most_common()]
        yield from _table(rows)


def _routes(meter: Meter) -> Iterator[Text]:
    rows = [["route", "invocations", "records", "bytes"]]
    rows += [
        [
            route,
            f"{meter.invocations[route]:,}",
            f"{meter.records[route]:,}",
            number_format.size(meter.payload_bytes[route]),
        ]
        for route in ("inline", "s3")
        if meter.invocations[route]
    ]
    if len(rows) > 1:
        yield from _table(rows)


def _latencies(meter: Meter) -> Iterator[Text]:
    rows = [["latency", *(label for label, _ in _PERCENTILES), "max"]]
    rows += [
        [
            name,
            *(number_format.latency(histogram.percentile(share)) for _, share in _PERCENTILES),
            number_format.latency(histogram.largest),
        ]
        for name, histogram in _histograms(meter)
        if histogram.count
    ]
    if len(rows) > 1:
        yield from _table(rows)


def _histograms(meter: Meter) -> tuple[tuple[str, Histogram], ...]:
    return (
        ("call", meter.call_latency),
        ("completion", meter.completion_latency),
        ("service", meter.service_latency),
    )


def _calls(meter: Meter) -> Iterator[Text]:
    """Yield the troubles of the run, a line for each kind that occurred."""
    troubles = [f"{name} {n:,}" for name, n in meter.calls.most_common() if name != "accepted"]
    expected = ("matched", "test")
    other = [f"{name} {n:,}" for name, n in meter.events.most_common() if name not in expected]
    failed = [f"{name} {n:,}" for name, n in meter.failed_requests.most_common()]
    retried = [f"{name} {n:,}" for name, n in meter.retried.most_common()]
    undeleted = meter.staged["deletion_denied"] + meter.staged["deletion_failed"]
    counts = (meter.repeated, meter.split, meter.sweep_completions, undeleted)
    if troubles or other or failed or retried or any(counts):
        yield Text()
    if troubles:
        yield Text(f"calls not accepted: {', '.join(troubles)}")
    if failed:
        yield Text(f"failed requests: {', '.join(failed)}")
    if retried:
        yield Text(f"failed invocations retried: {', '.join(retried)}")
    if meter.split:
        yield Text(
            f"failed invocations split: {meter.split:,}, "
            f"at the cost of {meter.parts:,} more invocations"
        )
    if meter.repeated:
        yield Text(f"perhaps invoked more than once: {meter.repeated:,}")
    if other:
        yield Text(f"other messages in the completion queue: {', '.join(other)}")
    if meter.sweep_completions:
        yield Text(f"completions found in S3 without an event: {meter.sweep_completions:,}")
    if undeleted:
        yield Text(f"staged objects that were not deleted: {undeleted:,}")
