"""The summary balances, and says what happened."""

import dataclasses
import io
import json
from typing import Any

import pytest

from dispatcher.observe.meter import Meter
from dispatcher.observe.summary import (
    RunSummary,
    summary_json,
    summary_lines,
    write_summary,
)

CLOSING = RunSummary(
    seconds=83.0,
    ending="finished",
    finished=True,
    results="quickstart/results.jsonl",
    dead_letters="quickstart/dead.jsonl",
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def meter() -> Meter:
    meter = Meter(phase="ended", read=2000, completed=1998, dead=2)
    meter.dead_reasons.update(bad_json=1, model_error=1)
    meter.invocations.update(inline=1900, s3=99)
    meter.records.update(inline=1900, s3=99)
    meter.payload_bytes.update(inline=40_200_000, s3=22_000_000)
    meter.calls.update(accepted=1999, throttled=12)
    meter.events.update(matched=1999, closed=4)
    meter.sweep_requests.update(list=3)
    meter.sweep_completions = 1
    meter.repeated = 2
    for histogram in (meter.call_latency, meter.completion_latency):
        for i in range(1, 101):
            histogram.add(i / 1000)
    return meter


def _text(meter: Meter, closing: RunSummary) -> str:
    stream = io.StringIO()
    write_summary(meter, closing, stream)
    return stream.getvalue()


def test_a_finished_run(meter: Meter) -> None:
    assert (
        _text(meter, CLOSING)
        == """
finished after 1m23s, 24/s on average
read 2,000 = completed 1,998 + dead 2

dead letters by reason  records
bad_json                      1
model_error                   1

route   invocations  records    bytes
inline        1,900    1,900  40.2 MB
s3               99       99  22.0 MB

latency         p50      p90      p99     max
call        50.1 ms  90.8 ms  98.3 ms  100 ms
completion  50.1 ms  90.8 ms  98.3 ms  100 ms

calls not accepted: throttled 12
perhaps invoked more than once: 2
other messages in the completion queue: closed 4
completions found in S3 without an event: 1

results       quickstart/results.jsonl
dead letters  quickstart/dead.jsonl
"""
    )


def test_staged_objects_that_stayed_are_shown(meter: Meter) -> None:
    assert "not deleted" not in _text(meter, CLOSING)
    meter.staged.update(uploaded=99, deleted=90, deletion_denied=6, deletion_failed=3)
    assert "staged objects that were not deleted: 9\n" in _text(meter, CLOSING)


def test_an_empty_run() -> None:
    assert (
        _text(Meter(), CLOSING)
        == """
finished after 1m23s
read 0 = completed 0 + dead 0

results       quickstart/results.jsonl
dead letters  quickstart/dead.jsonl
"""
    )


def test_a_stopped_run_says_what_is_left_and_what_to_do(meter: Meter) -> None:
    meter.completed = 1500
    meter.resumed_from = 400
    closing = dataclasses.replace(
        CLOSING, finished=False, ending="stopped by SIGTERM", advice="go on"
    )
    lines = [line.plain for line in summary_lines(meter, closing)]
    assert lines[1:4] == [
        "stopped by SIGTERM after 1m23s, 13/s on average",
        "read 2,000 = completed 1,500 + dead 2 + unfinished 498",
        "400 of these were settled by earlier runs of this ledger",
    ]
    assert lines[-1] == "go on"


@pytest.mark.parametrize("completed", [1997, 1999])
def test_a_balance_that_does_not_hold_is_said(meter: Meter, completed: int) -> None:
    meter.completed = completed
    assert "the balance does not hold" in _text(meter, CLOSING)


def test_colour_only_on_a_terminal(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    write_summary(meter, CLOSING, terminal)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[" not in _text(meter, CLOSING)


def test_no_color_is_honoured(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    meter.dead = 0
    meter.completed = 2000
    terminal = Terminal()
    write_summary(meter, CLOSING, terminal)
    assert "\x1b[1;32m" not in terminal.getvalue()
    assert "32m" not in terminal.getvalue()


def test_a_long_path_is_not_broken(meter: Meter) -> None:
    path = "folder/" * 40 + "results.jsonl"
    assert path in _text(meter, dataclasses.replace(CLOSING, results=path))


def test_what_was_split_and_its_cost_are_said(meter: Meter) -> None:
    assert "split" not in _text(meter, CLOSING)
    meter.split, meter.parts = 410, 1_230
    line = "failed invocations split: 410, at the cost of 1,230 more invocations"
    assert line in _text(meter, CLOSING)
    shown = json.loads(summary_json(meter, CLOSING))
    assert (shown["split"], shown["parts"]) == (410, 1_230)
    nothing_else = Meter(split=1, parts=3)
    assert "\n\nfailed invocations split: 1, " in _text(nothing_else, CLOSING)


def test_json(meter: Meter) -> None:
    line = summary_json(meter, CLOSING)
    shown: dict[str, Any] = json.loads(line)
    assert "\n" not in line
    assert shown["event"] == "summary"
    assert (shown["read"], shown["completed"], shown["dead"]) == (2000, 1998, 2)
    assert shown["balanced"] is True
    assert shown["latency"]["call"]["count"] == 100
    assert shown["latency"]["call"]["max"] == 0.1
