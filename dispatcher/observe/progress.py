"""The display of a run while it goes on: a live panel, plain lines, or JSON lines."""

import dataclasses
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Literal, TextIO, TypeAlias

import anyio
import orjson
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dispatcher.observe import number_format
from dispatcher.observe.console import open_console
from dispatcher.observe.meter import Meter
from dispatcher.observe.run_snapshot import Pace, Snapshot, take

Style: TypeAlias = Literal["rich", "plain", "json", "none"]

_WIDEST = 100
"""Columns of the live panel; on a wider terminal the eye would have to travel."""

_LIVE_SECONDS = 0.25
_LINE_SECONDS = 5.0
_FIRST_LINE_SECONDS = 1.0


def choose_style(stream: TextIO, term: str | None) -> Style:
    """Return the style that ``auto`` stands for.

    Args:
        stream: Where the display goes.
        term: The terminal's type (``TERM``).
    """
    return "rich" if stream.isatty() and term not in (None, "", "dumb") else "plain"


async def show(
    meter: Meter,
    style: Style,
    stream: TextIO,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> None:
    """Display a run until cancelled; a live panel is taken off the terminal at the end.

    A stream that cannot be written any more (a closed pipe) ends the display, never the run.

    Args:
        meter: The run's counters.
        style: ``rich`` redraws a panel four times a second; ``plain`` and ``json`` write a line
            after one second and then every five; ``none`` returns at once.
        stream: Where to, usually standard error.
        clock: Seconds, monotonic.
        sleep: Waits.
    """
    if style == "none":
        return
    try:
        if style == "rich":
            await _show_panel(meter, stream, clock, sleep)
        else:
            write = json_line if style == "json" else plain_line
            await _show_lines(meter, write, stream, clock, sleep)
    except (OSError, ValueError):
        # A closed pipe, or a closed file object: the display has no reader.
        return


async def _show_lines(
    meter: Meter,
    write: Callable[[Snapshot], str],
    stream: TextIO,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    pace = Pace(clock())
    take(meter, clock(), pace)
    await sleep(_FIRST_LINE_SECONDS)
    while True:
        stream.write(write(take(meter, clock(), pace)) + "\n")
        stream.flush()
        await sleep(_LINE_SECONDS)


async def _show_panel(
    meter: Meter,
    stream: TextIO,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    pace = Pace(clock())
    with Live(console=open_console(stream), auto_refresh=False, transient=True) as live:
        while True:
            live.update(panel(take(meter, clock(), pace)), refresh=True)
            await sleep(_LIVE_SECONDS)


def plain_line(snapshot: Snapshot) -> str:
    """Return one line without control characters."""
    parts = [
        f"read {number_format.count(snapshot.read)}",
        f"sent {number_format.count(snapshot.sent)}",
        f"outstanding {number_format.count(snapshot.outstanding)}",
        f"completed {number_format.count(snapshot.completed)}",
        f"dead {number_format.count(snapshot.dead)}",
    ]
    if snapshot.rate is not None:
        parts.append(number_format.rate(snapshot.rate))
    if snapshot.share is not None:
        parts.append(f"{number_format.percent(snapshot.share)} done")
    if snapshot.remaining is not None:
        parts.append(f"{number_format.span(snapshot.remaining)} left")
    if snapshot.inline_share is not None:
        parts.append(f"inline {number_format.percent(snapshot.inline_share)}")
    line = f"{number_format.span(snapshot.seconds):>6} {snapshot.phase}: {', '.join(parts)}"
    return "; ".join([line, *_notes(snapshot)])


def json_line(snapshot: Snapshot) -> str:
    """Return one JSON object on one line, its durations in seconds."""
    return orjson.dumps({"event": "progress", **dataclasses.asdict(snapshot)}).decode()


def panel(snapshot: Snapshot) -> RenderableType:
    """Return the live panel: where the run stands, a bar, the counts, and what goes wrong."""
    lines = Group(_headline(snapshot), _bar(snapshot), _counts(snapshot), _footer(snapshot))
    return Constrain(lines, _WIDEST)


def _headline(snapshot: Snapshot) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    left = Text.assemble((snapshot.phase, "bold"), f"  {number_format.span(snapshot.seconds)}")
    right = Text()
    if snapshot.rate is not None:
        right.append(number_format.rate(snapshot.rate), "bold")
    if snapshot.remaining is not None:
        right.append(f"  {number_format.span(snapshot.remaining)} left")
    line.add_row(left, right)
    return line


def _bar(snapshot: Snapshot) -> RenderableType:
    """Return the bar and its share; without a known end there is nothing honest to draw."""
    if snapshot.share is None:
        return Text("")
    line = Table.grid(expand=True, padding=(0, 1, 0, 0))
    line.add_column(ratio=1)
    line.add_column(justify="right", width=4)
    line.add_row(
        ProgressBar(
            total=1.0,
            completed=snapshot.share,
            complete_style="cyan",
            finished_style="green",
        ),
        Text(number_format.percent(snapshot.share)),
    )
    return line


def _counts(snapshot: Snapshot) -> RenderableType:
    counts = [
        ("read", number_format.count(snapshot.read), ""),
        ("sent", number_format.count(snapshot.sent), ""),
        ("outstanding", number_format.count(snapshot.outstanding), ""),
        ("completed", number_format.count(snapshot.completed), "green"),
        ("dead", number_format.count(snapshot.dead), "red" if snapshot.dead else ""),
        ("inline", number_format.percent(snapshot.inline_share or 0.0), ""),
    ]
    table = Table.grid(expand=True, padding=(0, 1))
    for _ in counts:
        table.add_column(justify="right", ratio=1, no_wrap=True)
    table.add_row(*(Text(name, "dim") for name, _, _ in counts))
    table.add_row(*(Text(value, style) for _, value, style in counts))
    return table


def _footer(snapshot: Snapshot) -> RenderableType:
    """Return the troubles; an empty line where there are none, so that nothing jumps."""
    return Text("; ".join(_notes(snapshot)), "yellow")


def _notes(snapshot: Snapshot) -> Iterator[str]:
    """Yield what does not go as it should."""
    if snapshot.troubles:
        counts = [f"{name} {number_format.count(n)}" for name, n in snapshot.troubles.items()]
        yield f"calls {', '.join(counts)}"
    if snapshot.split:
        failed, parts = map(number_format.count, (snapshot.split, snapshot.parts))
        yield f"split {failed} into {parts}"
