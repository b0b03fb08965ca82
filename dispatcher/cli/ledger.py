"""``dispatcher ledger check``: whether what a run keeps is whole."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from dispatcher.cli import exit_codes
from dispatcher.cli.options import config_argument, set_option
from dispatcher.cli.terminal import emit, say
from dispatcher.config.load import load_config
from dispatcher.config.settings import Config
from dispatcher.ledger.check.read import read_holdings
from dispatcher.ledger.check.snapshot import LedgerSnapshot
from dispatcher.ledger.check.verify import Defect, verify
from dispatcher.ledger.store import schema

_MOST_FINDINGS = 20
"""Findings that people are shown; --json lists all."""


@click.group("ledger", short_help="Verify the ledger of a run.", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Verify the ledger of a run."""
    if ctx.invoked_subcommand is None:
        say(ctx.get_help())
        ctx.exit(exit_codes.USAGE)


@command.command("check", short_help="Check a ledger, its spool and its files for damage.")
@config_argument
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(config_path: Path, overrides: tuple[str, ...], as_json: bool) -> int:
    """Check a ledger, its spool and its files for damage, and say what to do.

    Everything is read and nothing is written. Not while a run goes on: what it settles would look
    lost. Exit codes: 0 sound; 3 damaged, or in use by a run.
    """
    config = load_config(config_path, overrides)
    holdings = read_holdings(Path(config.ledger.path))
    findings = verify(
        holdings,
        results=config.sink.path if config.sink.type == "jsonl" else None,
        dead_letters=config.dead_letters.path if config.dead_letters.type == "jsonl" else None,
    )
    is_sound = not any(finding.is_damage for finding in findings)
    if as_json:
        told = [{"what": f.what, "remedy": f.remedy, "damage": f.is_damage} for f in findings]
        ledger = {"ledger": config.ledger.path, "sound": is_sound, "findings": told}
        emit(json.dumps(ledger, indent=2))
    else:
        emit("\n".join(_lines(config, holdings, findings, is_sound=is_sound)))
    return 0 if is_sound else exit_codes.STOPPED


def _lines(
    config: Config, holdings: LedgerSnapshot, findings: list[Defect], *, is_sound: bool
) -> Iterator[str]:
    worst_first = sorted(findings, key=lambda finding: not finding.is_damage)
    for finding in worst_first[:_MOST_FINDINGS]:
        yield f"{'DAMAGED' if finding.is_damage else 'note   '}  {finding.what}"
        yield f"         {finding.remedy}"
    if len(findings) > _MOST_FINDINGS:
        yield f"         and {len(findings) - _MOST_FINDINGS:,} more; --json lists all"
    if findings:
        yield ""
    if is_sound and holdings.version != schema.VERSION:
        yield f"{config.ledger.path} was not looked at"
        return
    yield (
        f"{config.ledger.path} is {'sound' if is_sound else 'damaged'}: looked at "
        f"{len(holdings.invocations):,} outstanding invocations and their payloads, "
        f"{len(holdings.ranges):,} settled ranges, files of outcomes: {len(holdings.files):,}"
    )
