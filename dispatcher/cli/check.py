"""``dispatcher check``: show what a run would do, and check that it could."""

from collections.abc import Iterable
from pathlib import Path

import anyio
import click

from dispatcher.cli import exit_codes, staged_retention
from dispatcher.cli.embedded_emulator import emulator_for
from dispatcher.cli.options import config_argument, set_option
from dispatcher.cli.preflight import check_outputs, check_source, describe_run
from dispatcher.cli.terminal import write_data
from dispatcher.config.load import load_config
from dispatcher.config.settings import Config
from dispatcher.flow.finding import Finding
from dispatcher.observe import number_format

_MARKS = {True: "ok", False: "FAILED", None: "unknown"}

_MAX_FILES = 20
"""Sound files that are listed one by one; those that fail are always listed."""


@click.command("check", short_help="Check a configuration, and with --aws the account.")
@config_argument
@set_option
@click.option("--aws", is_flag=True, help="Check credentials, endpoint, queue and bucket too.")
def command(config_path: Path, overrides: tuple[str, ...], aws: bool) -> int:
    """Check a configuration and the files it names, and show what would run.

    Nothing is sent and nothing is written. With --aws the account is checked too (with an
    emulator section: the emulator), and an object of one byte is put into the staging bucket and
    deleted again: nothing else shows that this is allowed. Exits with 1 if anything is not as a
    run needs it.
    """
    config = load_config(config_path, overrides)
    sources, streams = check_source(config)
    write_data("\n".join(number_format.columns(describe_run(config, streams), left=2)))
    findings = [*_shortened(sources), *check_outputs(config)]
    if aws:
        findings += anyio.run(_probe, config)
    rows = [[_MARKS[finding.ok], finding.name, finding.detail] for finding in findings]
    write_data("\n" + "\n".join(number_format.columns(rows, left=3)))
    if (rule := staged_retention.advice(config)) is not None:
        write_data(f"\n{rule}")
    return exit_codes.USAGE if any(finding.ok is False for finding in findings) else 0


def _shortened(findings: list[Finding]) -> Iterable[Finding]:
    """Leave out the sound files beyond the first ones, and add how many they are."""
    sound = [finding for finding in findings if finding.ok]
    yield from sound[:_MAX_FILES]
    if len(sound) > _MAX_FILES:
        yield Finding("source", ok=True, detail=f"and {len(sound) - _MAX_FILES:,} more files")
    yield from (finding for finding in findings if not finding.ok)


async def _probe(config: Config) -> list[Finding]:
    # aioboto3 takes most of a second to import: not for a check of the files alone.
    from dispatcher.aws.preflight.probe import probe  # noqa: PLC0415 - only where it is used

    if config.emulator is not None:
        # Nothing is written, and the state folder may be another run's at this very moment.
        in_memory = config.emulator.model_copy(update={"state": None})
        config = config.model_copy(update={"emulator": in_memory})
    async with emulator_for(config) as (reached, access):
        return await probe(reached, access, days=staged_retention.days_needed(config))
