"""``dispatcher emulate``: run the emulator as a server."""

import difflib
import shlex
import signal
from pathlib import Path
from typing import Any

import anyio
import click
from pydantic import ValidationError

from dispatcher.cli.options import set_option
from dispatcher.cli.terminal import write_data, write_message
from dispatcher.config.faults import FaultSettings
from dispatcher.config.load import load_config
from dispatcher.config.settings import EmulatorSettings, ServiceTime
from dispatcher.config.units import parse_duration
from dispatcher.emulator.server import Emulator

DEFAULT_PORT = 4599
DEFAULT_ENDPOINT = "demo"


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a duration as the configuration does: ``250ms``, ``30s``, ``1h30m``."""
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _fault_settings(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> dict[str, Any]:
    """Read ``late_event=0.1`` and the like, each as the configuration does."""
    given: dict[str, Any] = {}
    for text in value:
        name, equals, setting = text.partition("=")
        if not equals:
            raise click.BadParameter(f"write NAME=SHARE, not {text!r}", ctx, param)
        if name not in FaultSettings.model_fields:
            near = difflib.get_close_matches(name, FaultSettings.model_fields, n=1)
            hint = f"did you mean {near[0]}?" if near else "docs/emulator.md lists all"
            raise click.BadParameter(f"there is no fault {name!r}; {hint}", ctx, param)
        try:
            given[name] = getattr(FaultSettings.model_validate({name: setting}), name)
        except ValidationError as error:
            raise click.BadParameter(f"{text}: {error.errors()[0]['msg']}", ctx, param) from None
    return given


@click.command("emulate", short_help="Emulate SageMaker asynchronous inference on this machine.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Take endpoint, bucket and emulator section of a configuration.",
)
@set_option
@click.option("--host", help="Address to listen on; default 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port to listen on, 0 for any free one; default {DEFAULT_PORT}.",
)
@click.option("--endpoint", "endpoints", multiple=True, help="Endpoint to offer. Repeatable.")
@click.option("--model", help="echo, text-stats, or package.module:function.")
@click.option("--service-time", callback=_seconds, help="Time of an inference, as 20ms.")
@click.option("--instances", type=click.IntRange(1, 10_000), help="Inferences at once.")
@click.option("--state", help="Folder for state that survives a restart; default memory.")
@click.option("--seed", type=int, help="Seed of all that is random.")
@click.option("--no-events", is_flag=True, help="Publish no success and error events.")
@click.option("--response-in-event", is_flag=True, help="Small responses travel in the event.")
@click.option(
    "--throttle", type=click.FloatRange(0, 1), help="Share of the invocations that is throttled."
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME=SHARE",
    callback=_fault_settings,
    help="Share that a fault strikes, as lost_event=0.05. Repeatable.",
)
@click.option(
    "--verify-signatures",
    is_flag=True,
    help="Refuse calls that are not signed with the emulator's key.",
)
def command(
    config_path: Path | None,
    overrides: tuple[str, ...],
    endpoints: tuple[str, ...],
    **options: Any,
) -> int:
    """Emulate SageMaker asynchronous inference on this machine, until a signal.

    Standard output carries shell lines that lead any AWS SDK to it: "eval" them in another
    terminal.
    """
    settings, buckets = EmulatorSettings(), list[str]()
    if config_path is not None:
        config = load_config(config_path, overrides)
        settings = config.emulator or settings
        endpoints = endpoints or (config.endpoint.name,)
        buckets = [config.staging.bucket] if config.staging.bucket else []
    elif overrides:
        raise click.UsageError("--set needs --config")
    settings = merge(settings, options)
    number = anyio.run(_serve, settings, list(endpoints or (DEFAULT_ENDPOINT,)), buckets)
    return 128 + number


def merge(settings: EmulatorSettings, options: dict[str, Any]) -> EmulatorSettings:
    """Return the settings with the given options in place of theirs.

    Args:
        settings: Of the configuration, or the defaults.
        options: By name; None and False where an option was not given.
    """
    # By identity, because 0 is a port, a seed and a share, though it equals False.
    given = {
        name: value for name, value in options.items() if value is not None and value is not False
    }
    if given.pop("no_events", False):
        given["events"] = False
    if "service_time" in given:
        given["service_time"] = ServiceTime(median=given["service_time"])
    faults = given.pop("faults", {})
    if "throttle" in given:
        faults = {"throttle": given.pop("throttle"), **faults}
    given["faults"] = settings.faults.model_copy(update=faults)
    if "port" not in given and "port" not in settings.model_fields_set:
        given["port"] = DEFAULT_PORT
    return settings.model_copy(update=given)


async def _serve(settings: EmulatorSettings, endpoints: list[str], buckets: list[str]) -> int:
    """Run the emulator and return the number of the signal that ended it."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with Emulator(settings, endpoints=endpoints, buckets=buckets) as emulator:
            write_data(export_lines(emulator))
            write_message(f"emulating {', '.join(endpoints)} on {emulator.url}; end with ctrl-C")
            async for number in signals:
                if struck := emulator.faults.struck:
                    counts = (f"{name} {count}" for name, count in struck.most_common())
                    write_message(f"faults: {', '.join(counts)}")
                return int(number)
    raise AssertionError  # a signal receiver does not end by itself


def export_lines(emulator: Emulator) -> str:
    """Return shell lines with the variables that lead an AWS SDK to the emulator."""
    variables = {
        **emulator.environment,
        # As configs/worker.yaml names them.
        "QUEUE_URL": emulator.queue_url,
        "STAGING_BUCKET": emulator.input_bucket,
        "OUTPUT_BUCKET": emulator.output_bucket,
    }
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
