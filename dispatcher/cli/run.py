"""``dispatcher run``: the whole way, with its display and its closing summary."""

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
from dispatcher.cli.embedded_emulator import emulator_for, remembering
from dispatcher.cli.options import config_argument, set_option
from dispatcher.cli.runtime_tuning import fill_standard_streams, tune
from dispatcher.cli.terminal import Terminal, say
from dispatcher.config.load import load_config
from dispatcher.config.settings import Config
from dispatcher.errors import RunStopped
from dispatcher.observe.http import serve
from dispatcher.observe.meter import Meter
from dispatcher.observe.progress import Style, choose_style, show
from dispatcher.observe.summary import RunSummary, balance_of, summary_json, write_summary
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
    shell: Terminal,
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
    shell.state_folder = Path(config.ledger.path).parent
    style = choose_style(sys.stderr, os.environ.get("TERM")) if progress == "auto" else progress
    meter = Meter()
    started = time.monotonic()
    fill_standard_streams()
    failpoints.arm_from_environment()
    tune()
    try:
        ending = anyio.run(
            _dispatch,
            config,
            meter,
            style,
            force,
            backend_options={"use_uvloop": find_spec("uvloop") is not None},
        )
    except BaseException as error:
        if meter.read and isinstance(exit_codes.most_telling(error), RunStopped):
            _close(config, meter, style, started, None)
        raise
    _close(config, meter, style, started, ending)
    return exit_code(meter, ending)


def exit_code(meter: Meter, ending: RunResult) -> int:
    """Return what the process exits with after a run that was not stopped by an error."""
    balance = balance_of(meter)
    if not balance.holds(finished=ending.signal is None):
        return exit_codes.STOPPED
    if ending.signal is not None:
        return 128 + ending.signal
    return exit_codes.DEAD_LETTERS if balance.dead else 0


async def _dispatch(config: Config, meter: Meter, style: Style, force: bool) -> RunResult:
    config = remembering(config)
    async with emulator_for(config) as (reached, access), serve(config.observe, meter) as port:
        if style in ("rich", "plain"):
            _introduce(config, access, port)
        async with anyio.create_task_group() as group:
            group.start_soon(show, meter, style, sys.stderr)
            ending = await run_pipeline(reached, meter=meter, access=access, force=force)
            group.cancel_scope.cancel()
    return ending


def _introduce(config: Config, access: Access | None, port: int | None) -> None:
    """Say what runs where, before anything is sent."""
    where = f", the embedded emulator at {access.endpoint_url}" if access else ""
    say(f"endpoint {config.endpoint.name}{where}")
    say(f"ledger {config.ledger.path}")
    if config.ledger.durability == "relaxed":
        say("durability is relaxed: the state survives a killed process, but not a power loss")
    if port is not None:
        say(f"metrics at http://{config.observe.host}:{port}/metrics")


def _close(
    config: Config, meter: Meter, style: Style, started: float, ending: RunResult | None
) -> None:
    """Write the summary; ``ending`` is None where an error stopped the run and is still to tell."""
    if ending is None:
        what, advice = "stopped by an error", None
    elif ending.signal is None:
        what, advice = "finished", None
    else:
        what = f"stopped by {signal.Signals(ending.signal).name}"
        left = f"{ending.outstanding:,} outstanding; " if ending.outstanding else ""
        advice = f"{left}the same command line goes on from here"
    closing = RunSummary(
        seconds=time.monotonic() - started,
        ending=what,
        finished=ending is not None and ending.signal is None,
        results=config.sink.destination,
        dead_letters=config.dead_letters.destination,
        advice=advice,
    )
    if style == "json":
        say(summary_json(meter, closing))
        return
    try:
        write_summary(meter, closing, sys.stderr)
    except OSError:
        # Standard error is closed: the exit code still tells.
        return
