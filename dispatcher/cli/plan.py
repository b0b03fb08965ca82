"""``dispatcher plan``: show what a run would send and cost, without sending anything."""

import math
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import click
import yaml
from rich.live import Live
from rich.text import Text

from dispatcher.cli.options import config_argument, set_option
from dispatcher.cli.terminal import write_data, write_message
from dispatcher.config.load import load_config
from dispatcher.config.settings import Config
from dispatcher.config.units import parse_size
from dispatcher.connectors.open_source import open_file_source
from dispatcher.errors import ConfigError
from dispatcher.observe import number_format
from dispatcher.observe.console import open_console
from dispatcher.observe.progress import choose_style
from dispatcher.plan.cost import PRICE_NAMES, Assumptions, with_prices
from dispatcher.plan.extent import Extent, InputProgress
from dispatcher.plan.planner import Planner
from dispatcher.plan.report import report
from dispatcher.plan.report_json import report_json
from dispatcher.records.source import Source

_LIVE_SECONDS = 0.25
_LINE_SECONDS = 5.0
_FIRST_LINE_SECONDS = 1.0


def _size(ctx: click.Context, param: click.Parameter, value: str) -> int:
    try:
        return parse_size(int(value) if value.isdecimal() else value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _prices(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, float]:
    """Read ``s3_put=5.0``, or the same from a file of such keys."""
    given: dict[str, object] = {}
    for text in value:
        name, equals, price = text.partition("=")
        if equals:
            given[name] = price
            continue
        try:
            read = yaml.safe_load(Path(text).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            read = None
        if not isinstance(read, dict):
            raise click.BadParameter(
                f"write NAME=DOLLARS, or name a file with lines NAME: DOLLARS, not {text!r}",
                ctx,
                param,
            )
        given |= read
    for name in given:
        if name not in PRICE_NAMES:
            raise click.BadParameter(
                f"there is no price {name!r}; there are {', '.join(PRICE_NAMES)}", ctx, param
            )
    return {name: _price(ctx, param, name, str(price)) for name, price in given.items()}


def _price(ctx: click.Context, param: click.Parameter, name: str, text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise click.BadParameter(f"{name}: {text} is no price in dollars per million", ctx, param)
    return price


@click.command("plan", short_help="Show what a run would send and cost, without sending anything.")
@config_argument
@set_option
@click.option("--sample", type=click.IntRange(1), help="Read only so many records.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--output-size",
    default="200B",
    show_default=True,
    metavar="SIZE",
    callback=_size,
    help="Usual size of one record's output.",
)
@click.option(
    "--response-in-event",
    is_flag=True,
    help="The endpoint puts responses into its events (IncludeInferenceResponseIn).",
)
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="NAME=DOLLARS|FILE",
    callback=_prices,
    help=f"Price in dollars per million: {', '.join(PRICE_NAMES)}. Repeatable.",
)
def command(
    config_path: Path,
    *,
    overrides: tuple[str, ...],
    sample: int | None,
    as_json: bool,
    output_size: int,
    response_in_event: bool,
    prices: dict[str, float],
) -> int:
    """Read the input, pack it as a run would, and show requests, routes and cost.

    Nothing is sent or written, and no credentials are needed. ctrl-C shows what was read so far.
    """
    config = load_config(config_path, overrides)
    if config.source.type == "sqs":
        raise ConfigError(
            "plan would have to take messages out of the queue. Save some of them, one a line, and "
            "plan from that: --set source.type=jsonl --set source.queue_url=null "
            "--set source.path=FILE"
        )
    assumed = assumptions(config, output_size, response_in_event)
    planner = Planner(config, assumed, with_prices(prices))
    number, extent = anyio.run(read_input, config, planner, sample)
    plan = planner.finish(extent)
    if as_json:
        write_data(report_json(plan))
    else:
        _print(report(plan))
    return 128 + number if number is not None else 0


def assumptions(config: Config, output_bytes: int, response_in_event: bool) -> Assumptions:
    """Return the assumptions that the cost of a configuration depends on."""
    emulator = config.emulator
    return Assumptions(
        events=config.completion.queue_url is not None
        or (emulator is not None and emulator.events),
        response_in_event=response_in_event
        or (emulator is not None and emulator.response_in_event),
        output_bytes=output_bytes,
        kms=config.staging.encryption == "aws:kms",
    )


async def read_input(
    config: Config, planner: Planner, sample: int | None
) -> tuple[int | None, Extent]:
    """Read the input into a planner.

    Args:
        config: Names the input.
        planner: Packs the records.
        sample: Most records to read; None: all.

    Returns:
        The signal that ended the reading, if one did, and how much was read.

    Raises:
        ConfigError, StateError: The input cannot be read.
    """
    with TemporaryDirectory(prefix="dispatcher-plan-") as folder:
        # A run keeps manifests and records too large for memory beside its ledger.
        ledger = Path(folder) / "ledger.db"
        source = open_file_source(config.source, config.packing, ledger)
        manifest = ledger.with_name(f"{ledger.name}.files")
        reader = _InputReader(source=source, manifest=manifest, planner=planner, sample=sample)
        try:
            await source.open({}, {})
            async with anyio.create_task_group() as group:
                group.start_soon(reader.stop_on_signal)
                group.start_soon(_show, planner, source)
                await reader.run()
                group.cancel_scope.cancel()
            return reader.signal, reader.extent()
        finally:
            await source.aclose()


class _InputReader:
    """Reads the input, or the first part of it, into a planner.

    Attributes:
        signal: The signal that ended it early; None without one.
    """

    def __init__(
        self, *, source: Source, manifest: Path, planner: Planner, sample: int | None
    ) -> None:
        self.signal: int | None = None
        self._source = source
        self._manifest = manifest
        self._planner = planner
        self._sample = sample
        self._ended = False
        self._measure = InputProgress()
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Read until the end, the sample's end, or a signal."""
        source, measure = self._source, self._measure
        with self._scope:
            while items := await source.read():
                # With a record in each file there are many: their manifest stands for them.
                has_manifest = self._manifest.exists()
                disk = items[-1].position.end if has_manifest else source.bytes_read
                measure.follow(items, disk)
                left = self._left(len(items))
                if left:
                    self._planner.add(items[:left])
                    measure.plan(items[left - 1])
                elif measure.has_density:
                    # There is more, and the sizes of files show how much.
                    return
                if self._expected is None and not self._left(1):
                    # The rest of a pipe may take long to come, and shows nothing more.
                    return
            self._ended = True

    def extent(self) -> Extent:
        """Return how much of the input was read."""
        return self._measure.extent(ended=self._ended, expected=self._expected)

    @property
    def _expected(self) -> int | None:
        if self._manifest.exists():
            return self._manifest.stat().st_size
        return self._source.bytes_expected

    def _left(self, wanted: int) -> int:
        return wanted if self._sample is None else min(wanted, self._sample - self._planner.read)

    async def stop_on_signal(self) -> None:
        """End at the first signal."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for received in signals:
                self.signal = int(received)
                self._scope.cancel()


async def _show(planner: Planner, source: Source) -> None:
    """Show on standard error how much is read; nothing in the first second."""
    if choose_style(sys.stderr, os.environ.get("TERM")) == "rich":
        with Live(console=open_console(sys.stderr), auto_refresh=False, transient=True) as live:
            while True:
                await anyio.sleep(_LIVE_SECONDS)
                live.update(Text(_progress(planner, source), "dim"), refresh=True)
    await anyio.sleep(_FIRST_LINE_SECONDS)
    while True:
        write_message(_progress(planner, source))
        await anyio.sleep(_LINE_SECONDS)


def _progress(planner: Planner, source: Source) -> str:
    read = f"read {planner.read:,} records, {number_format.size(source.bytes_read)}"
    expected = source.bytes_expected
    return read if expected is None else f"{read} of {number_format.size(expected)}"


def _print(lines: Iterable[Text]) -> None:
    """Write the report to standard output, in bold and dim on a terminal that shows it."""
    if choose_style(sys.stdout, os.environ.get("TERM")) == "rich":
        console = open_console(sys.stdout)
        for line in lines:
            console.print(line)
    else:
        write_data("\n".join(line.plain for line in lines))
