"""The display shows what the meter says, in each style, and never stops a run."""

import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable
from typing import TextIO

import anyio
import pytest
from rich.console import Console

from dispatcher.observe.meter import Meter
from dispatcher.observe.progress import Style, choose_style, json_line, panel, plain_line, show
from dispatcher.observe.run_snapshot import Snapshot

FULL = Snapshot(
    phase="running",
    seconds=83.0,
    read=12_345,
    sent=12_001,
    outstanding=1_204,
    on_wire=64,
    completed=10_797,
    dead=3,
    rate=812.3,
    share=0.413,
    remaining=250.0,
    inline_share=0.97,
    troubles={"throttled": 12, "transient": 3},
    split=41,
    parts=1_230,
)
EMPTY = Snapshot(
    phase="starting",
    seconds=0.0,
    read=0,
    sent=0,
    outstanding=0,
    on_wire=0,
    completed=0,
    dead=0,
    rate=None,
    share=None,
    remaining=None,
    inline_share=None,
    troubles={},
    split=0,
    parts=0,
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    """A pipe whose reader has gone."""

    def isatty(self) -> bool:
        return True

    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_plain_line() -> None:
    assert plain_line(FULL) == (
        " 1m23s running: read 12,345, sent 12,001, outstanding 1,204, completed 10,797, dead 3, "
        "812/s, 41% done, 4m10s left, inline 97%; calls throttled 12, transient 3; "
        "split 41 into 1,230"
    )


def test_a_plain_line_of_nothing() -> None:
    assert plain_line(EMPTY) == (
        "    0s starting: read 0, sent 0, outstanding 0, completed 0, dead 0"
    )


def test_a_json_line() -> None:
    line = json_line(FULL)
    assert "\n" not in line
    shown = json.loads(line)
    assert shown["event"] == "progress"
    assert shown["read"] == 12_345
    assert shown["rate"] == 812.3
    assert json.loads(json_line(EMPTY))["rate"] is None


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_panel_fits_and_keeps_its_height(width: int) -> None:
    heights = []
    for snapshot in (FULL, EMPTY):
        console = Console(file=io.StringIO(), width=width, color_system=None)
        with console.capture() as capture:
            console.print(panel(snapshot))
        lines = capture.get().splitlines()
        assert all(len(line) <= min(width, 100) for line in lines)
        heights.append(len(lines))
    assert heights == [5, 5]


def test_the_panel_shows_the_numbers() -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with console.capture() as capture:
        console.print(panel(FULL))
    words = capture.get().split()
    for word in ("running", "1m23s", "812/s", "4m10s", "41%", "12,345", "12,001", "1,204", "97%"):
        assert word in words


@pytest.mark.parametrize(
    ("stream", "term", "style"),
    [
        (Terminal(), "xterm-256color", "rich"),
        (Terminal(), "dumb", "plain"),
        (Terminal(), None, "plain"),
        (io.StringIO(), "xterm-256color", "plain"),
    ],
)
def test_auto(stream: TextIO, term: str | None, style: Style) -> None:
    assert choose_style(stream, term) == style


class Time:
    """A clock that only moves when a task sleeps, and ends the display at a given moment."""

    def __init__(self, end: float) -> None:
        self.now = 1000.0
        self._end = 1000.0 + end

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self._end:
            raise asyncio.CancelledError
        await anyio.lowlevel.checkpoint()


async def _shown(meter: Meter, style: Style, stream: TextIO, end: float) -> None:
    time = Time(end)
    sleep: Callable[[float], Awaitable[None]] = time.sleep
    with pytest.raises(asyncio.CancelledError):
        await show(meter, style, stream, clock=time.clock, sleep=sleep)


async def test_plain_lines_come_after_one_second_and_then_every_five() -> None:
    stream = io.StringIO()
    await _shown(Meter(phase="running"), "plain", stream, end=12)
    times = [line.split()[0] for line in stream.getvalue().splitlines()]
    assert times == ["1s", "6s", "11s"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", stream.getvalue())


async def test_json_lines_are_objects() -> None:
    stream = io.StringIO()
    await _shown(Meter(read=7), "json", stream, end=8)
    assert [json.loads(line)["read"] for line in stream.getvalue().splitlines()] == [7, 7]


async def test_the_panel_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    await _shown(Meter(phase="running", read=7), "rich", stream, end=2)
    text = stream.getvalue()
    assert "running" in text
    # The last thing drawn is the erasing of the panel's five lines, and the cursor is back.
    assert text.rindex("\x1b[2K") > text.rindex("running")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


async def test_none_writes_nothing() -> None:
    stream = io.StringIO()
    await show(Meter(), "none", stream)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("style", "asleep"), [("plain", 1.0), ("json", 1.0), ("rich", 0.0)])
async def test_a_closed_pipe_ends_the_display_and_not_the_run(
    style: Style, asleep: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    time = Time(100)
    await show(Meter(), style, Closed(), clock=time.clock, sleep=time.sleep)
    assert time.now == 1000.0 + asleep
