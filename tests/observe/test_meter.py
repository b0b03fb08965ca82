"""The meter moves by events alone, and what it counts can be shown as JSON."""

from collections import Counter
from typing import get_args

from dispatcher.observe.events import (
    CallFinished,
    CompletionFound,
    CompletionsHeard,
    Event,
    EventOutageBegan,
    EventOutageEnded,
    InvocationRepeated,
    InvocationRetried,
    InvocationsPlanned,
    InvocationSplit,
    InvocationsSettled,
    PayloadStaged,
    PhaseChanged,
    RecordsRejected,
    RunStarted,
    SweepRequested,
)
from dispatcher.observe.meter import FixedLevels, Meter
from dispatcher.observe.run_snapshot import Pace
from dispatcher.observe.status_json import status_json
from dispatcher.observe.summary import RunSummary, summary_json
from dispatcher.reasons import Reason
from dispatcher.retry.outage_timer import RequestFailed, TroubleBegan, TroubleEnded

EVENTS: list[Event] = [
    RunStarted(
        completed=5,
        dead={"expired": 2},
        outstanding_records=3,
        repeated=1,
        split=1,
        parts=3,
        bytes_expected=1_000,
    ),
    PhaseChanged("running"),
    RecordsRejected(4),
    InvocationsPlanned(Counter(inline=2, s3=1), Counter(inline=6, s3=1), Counter(inline=9, s3=7)),
    CallFinished("accepted", 0.5),
    CallFinished("throttled", 9.0),
    InvocationRepeated(),
    InvocationRetried(Reason.MODEL_ERROR),
    InvocationSplit(3),
    PayloadStaged("uploaded"),
    CompletionsHeard(Counter({"matched": 2, "closed": 1}), [0.25, 0.75]),
    SweepRequested("list"),
    CompletionFound(),
    EventOutageBegan(),
    EventOutageEnded(),
    InvocationsSettled(6, Counter({str(Reason.MODEL_ERROR): 1}), [1.0, 2.0]),
    RequestFailed("completions could not be asked for", "SlowDown"),
    TroubleBegan("completions could not be asked for", "503"),
    TroubleEnded("completions could not be asked for", 9.0),
]


def played() -> Meter:
    meter = Meter()
    for event in EVENTS:
        meter.observe(event)
    return meter


def test_every_kind_of_event_is_played_here() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))


def test_totals_go_on_where_earlier_processes_left_them() -> None:
    meter = played()
    assert (meter.read, meter.completed, meter.dead) == (5 + 2 + 3 + 4 + 7, 11, 3)
    assert meter.resumed_from == 7
    assert meter.dead_reasons == {"expired": 2, "model_error": 1}
    assert (meter.repeated, meter.split, meter.parts) == (2, 2, 6)


def test_counters_of_this_process() -> None:
    meter = played()
    assert (meter.phase, meter.bytes_expected) == ("running", 1_000)
    assert (meter.invocations, meter.records) == ({"inline": 2, "s3": 1}, {"inline": 6, "s3": 1})
    assert meter.payload_bytes == {"inline": 9, "s3": 7}
    assert meter.calls == {"accepted": 1, "throttled": 1}
    assert (meter.retried, meter.staged) == ({"model_error": 1}, {"uploaded": 1})
    assert meter.events == {"matched": 2, "closed": 1}
    assert meter.failed_requests == {"SlowDown": 1}
    assert (meter.sweep_requests, meter.sweep_completions) == ({"list": 1}, 1)
    assert meter.event_outages == 1
    assert (meter.call_latency.count, meter.call_latency.total) == (1, 0.5)
    assert (meter.service_latency.count, meter.service_latency.total) == (2, 1.0)
    assert (meter.completion_latency.count, meter.completion_latency.total) == (2, 3.0)


def test_all_of_it_is_shown_as_json() -> None:
    shown = summary_json(
        played(),
        RunSummary(
            seconds=1.0,
            ending="finished",
            finished=False,
            results="r.jsonl",
            dead_letters="d.jsonl",
        ),
    )
    assert '"model_error":1' in shown


def test_levels_are_kept_as_they_were_when_their_owners_are_closed() -> None:
    levels = FixedLevels(on_wire=1, outstanding=2, bytes_read=3)
    meter = Meter(levels=levels)
    meter.freeze_levels()
    levels.outstanding = 0
    assert (meter.on_wire, meter.outstanding, meter.bytes_read) == (1, 2, 3)
    assert meter.levels is not levels


def test_the_status_document_shows_all_of_it() -> None:
    assert b'"model_error":1' in status_json(played(), 1.0, Pace(0.0))
