"""Reports of a benchmark: a table to read, JSON to compute with, Markdown, a plot."""

import argparse
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.rig import BUSY

RESULTS = Path(__file__).parent / "results"


@dataclass(slots=True, frozen=True)
class Spread:
    """A figure of repeated runs."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return the spread of one value a run."""
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))

    def __str__(self) -> str:
        shown = number(self.median)
        least, most = number(self.least), number(self.most)
        return shown if least == most else f"{shown} ({least}-{most})"


@dataclass(slots=True, frozen=True)
class Bars:
    """A group of bars of a plot: a title, and a figure for each name."""

    title: str
    values: Mapping[str, Spread]


@dataclass(slots=True, frozen=True)
class Report:
    """All that is written of one benchmark.

    Attributes:
        name: Of the benchmark, and of its files.
        title: A line.
        facts: What a reader must know to compare.
        tables: Headings with their tables.
        note: What stands below the tables.
        data: Everything, for programs.
        draw: Draws the plot into a file, under the title.
    """

    name: str
    title: str
    facts: Mapping[str, str]
    tables: Sequence[tuple[str, str]]
    note: str
    data: Mapping[str, Any]
    draw: Callable[[Path, str], None]

    def text(self) -> str:
        """Return it as Markdown, which is also what is printed."""
        parts = [f"# {self.title}, {_today()}"]
        parts.append("\n".join(f"- {name}: {value}" for name, value in self.facts.items()))
        for heading, grid in self.tables:
            parts += [f"## {heading}", grid]
        parts.append(self.note)
        return "\n\n".join(parts) + "\n"

    def write(self, out: Path, *, with_plot: bool) -> None:
        """Write the files of it into a folder."""
        out.mkdir(parents=True, exist_ok=True)
        stem = out / f"{_today()}-{self.name}"
        text, files = self.text(), [stem.with_suffix(".md"), stem.with_suffix(".json")]
        if with_plot:
            files.append(stem.with_suffix(".svg"))
            self.draw(files[-1], self.title)
            text += f"\n![{self.title}]({files[-1].name})\n"
        files[0].write_text(text)
        data = {"facts": dict(self.facts), **self.data}
        files[1].write_text(json.dumps(data, indent=1) + "\n")
        print("\n" + "written: " + ", ".join(file.name for file in files))


def add_options(parser: argparse.ArgumentParser, *, repetitions: int | None = None) -> None:
    """Add the options that benchmarks share; ``--repetitions`` where there are any."""
    if repetitions is not None:
        parser.add_argument("--repetitions", type=int, default=repetitions)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--plot", action="store_true", help="also draw an SVG (needs matplotlib)")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line; what can be known to fail at the end fails now."""
    options = parser.parse_args()
    if options.plot and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install -e '.[bench]'")
    return options


def number(value: float) -> str:
    """Return three digits of a figure, or all that stand before its point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def ratio(base: Sequence[Mapping[str, Any]] | None, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return how many times less CPU than the base, repetition by repetition."""
    if not base:
        return "-"
    return str(Spread.of(b["cpu_us"] / r["cpu_us"] for b, r in zip(base, runs, strict=True)))


def busy(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return how busy the stub was in the busiest run, marked where that is too much."""
    busiest: float = max(run["stub_utilisation"] for run in runs)
    return f"{busiest:.0%}{' !' if busiest > BUSY else ''}"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that is Markdown and reads well as it is; the first column is text."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *others])} |"

    rule = "|".join(
        f"{'-' * (width + 1)}:" if index else "-" * (width + 2)
        for index, width in enumerate(widths)
    )
    return "\n".join([line(headers), f"|{rule}|", *map(line, rows)])


def draw_bars(
    path: Path, title: str, *, groups: Sequence[Bars], unit: str, better: str = "less"
) -> None:
    """Draw a panel of bars a group, on one logarithmic scale; whiskers are least and most.

    Args:
        path: The SVG file.
        title: Above all panels.
        groups: The panels.
        unit: Of the bars.
        better: ``less`` or ``more`` of it.
    """
    # Large, optional, and not to be in memory while processes are measured.
    import matplotlib as mpl  # noqa: PLC0415 - only with --plot

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    from matplotlib import pyplot as plt  # noqa: PLC0415 - only with --plot

    names = list(dict.fromkeys(name for group in groups for name in group.values))
    colours = {name: f"C{index}" for index, name in enumerate(names)}
    columns = min(2, len(groups))
    lines = -(-len(groups) // columns)
    figure, panels = plt.subplots(
        lines,
        columns,
        figsize=(6.0 * columns, 0.9 + (0.6 + 0.34 * len(names)) * lines),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    spreads = [spread for group in groups for spread in group.values.values()]
    least = 10 ** math.floor(math.log10(min(spread.least for spread in spreads) / 2))
    most = max(spread.most for spread in spreads)
    for panel in panels.flat[len(groups) :]:
        panel.set_axis_off()
    for panel, group in zip(panels.flat, groups, strict=False):
        for name, spread in group.values.items():
            whiskers = [[spread.median - spread.least], [spread.most - spread.median]]
            panel.barh(name, spread.median, color=colours[name], xerr=whiskers, capsize=2)
            panel.annotate(
                number(spread.median),
                (spread.most, name),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
            )
        panel.set_title(group.title, fontsize=10)
        panel.set_xscale("log")
        panel.set_xlim(least, most * 2.5)
        panel.invert_yaxis()
        panel.tick_params(labelbottom=True)
    figure.suptitle(title)
    figure.supxlabel(f"{unit}, logarithmic; {better} is better", fontsize=9)
    figure.savefig(path)
    plt.close(figure)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
