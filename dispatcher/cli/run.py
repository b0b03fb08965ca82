"""``dispatcher run``: dispatch records, with a display and a summary at the end."""

import os
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import anyio
import click

from dispatcher import failpoints
from dispatcher.aws.session import Access
from dispatcher.cli import exit_codes
from dispatcher.cli.embedded_emulator import emulator_for, with_emulator_state
from dispatcher.cli.exit_codes import CommandContext
from dispatcher.cli.options import config_argument, set_option
from dispatcher.cli.runtime_tuning import fill_standard_streams, tune
from dispatcher.cli.terminal import write_message
from dispatcher.config.load import load_config
from dispatcher.config.settings import Config
from dispatcher.errors import ConfigError, RunStopped
from dispatcher.observe.balance import balance_of
from dispatcher.observe.http import serve
from dispatcher.observe.meter import Meter
from dispatcher.observe.progress import Style, choose_style, show
from dispatcher.observe.summary import RunSummary, summary_json, write_summary
from dispatcher.run.pipeline import RunResult
from dispatcher.run.pipeline import run as run_pipeline


@click.command("run", short_help="Dispatch the records of a configuration and collect the results.")
@config_argument
@set_option
@click.option(
    "--progress",
    type=click.Choice(["auto", "rich", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="Display on standard error; auto is rich on a terminal and plain elsewhere.",
)
@click.option("--force", is_flag=True, help="Resume although the configuration has changed.")
@click.pass_obj
def command(
    context: CommandContext,
    config_path: Path,
    overrides: tuple[str, ...],
    progress: Literal["auto", "rich", "plain", "json", "none"],
    force: bool,
) -> int:
    """Dispatch the records of a configuration and collect the results.

    A run is named by its ledger: the same command line resumes what was stopped or killed. The
    first SIGINT or SIGTERM drains, the second one stops at once.

    Exit codes: 0 all completed; 1 usage or configuration; 2 finished with dead letters; 3 stopped,
    state kept; 130 or 143 after a signal.
    """
    config = load_config(config_path, overrides)
    context.state_folder = Path(config.ledger.path).parent
    style = choose_style(sys.stderr, os.environ.get("TERM")) if progress == "auto" else progress
    meter = Meter()
    started = time.monotonic()
    fill_standard_streams()
    try:
        failpoints.arm_from_environment()
    except ValueError as error:
        raise ConfigError(str(error)) from None
    tune()
    try:
        result = anyio.run(
            _dispatch,
            config,
            meter,
            style,
            force,
            backend_options={"use_uvloop": find_spec("uvloop") is not None},
        )
    except BaseException as error:
        if meter.read and isinstance(exit_codes.root_cause(error), RunStopped):
            _write_run_summary(config, meter, style, started, None)
        raise
    _write_run_summary(config, meter, style, started, result)
    return exit_code(meter, result)


def exit_code(meter: Meter, result: RunResult) -> int:
    """Return the exit code of a run that was not stopped by an error."""
    balance = balance_of(meter)
    if not balance.holds(finished=result.signal is None):
        return exit_codes.STOPPED
    if result.signal is not None:
        return 128 + result.signal
    return exit_codes.DEAD_LETTERS if balance.dead else 0


async def _dispatch(config: Config, meter: Meter, style: Style, force: bool) -> RunResult:
    config = with_emulator_state(config)
    async with emulator_for(config) as (reached, access), serve(config.observe, meter) as port:
        if style in ("rich", "plain"):
            _announce(config, access, port)
        async with anyio.create_task_group() as group:
            group.start_soon(show, meter, style, sys.stderr)
            result = await run_pipeline(reached, meter=meter, access=access, force=force)
            group.cancel_scope.cancel()
    return result


def _announce(config: Config, access: Access | None, port: int | None) -> None:
    """Write what runs where, before anything is sent."""
    where = f", the embedded emulator at {access.endpoint_url}" if access else ""
    write_message(f"endpoint {config.endpoint.name}{where}")
    write_message(f"ledger {config.ledger.path}")
    if config.ledger.durability == "relaxed":
        write_message(
            "durability is relaxed: the state survives a killed process, but not a power loss"
        )
    if port is not None:
        write_message(f"metrics at http://{config.observe.host}:{port}/metrics")


def _write_run_summary(
    config: Config, meter: Meter, style: Style, started: float, result: RunResult | None
) -> None:
    """Write the summary; ``result`` is None where an error, reported later, stopped the run."""
    if result is None:
        what, advice = "stopped by an error", None
    elif result.signal is None:
        what, advice = "finished", None
    else:
        what = f"stopped by {signal.Signals(result.signal).name}"
        left = f"{result.outstanding:,} outstanding; " if result.outstanding else ""
        advice = f"{left}the same command line goes on from here"
    summary = RunSummary(
        seconds=time.monotonic() - started,
        ending=what,
        finished=result is not None and result.signal is None,
        results=config.sink.destination,
        dead_letters=config.dead_letters.destination,
        advice=advice,
    )
    if style == "json":
        write_message(summary_json(meter, summary))
        return
    try:
        write_summary(meter, summary, sys.stderr)
    except OSError:
        # Standard error is closed: the exit code remains.
        return
