"""``dispatcher ledger check``: verify the ledger, spool and files of a run."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from dispatcher.cli import exit_codes
from dispatcher.cli.options import config_argument, set_option
from dispatcher.cli.terminal import write_data, write_message
from dispatcher.config.load import load_config
from dispatcher.config.settings import Config
from dispatcher.ledger.check.ledger_snapshot import LedgerSnapshot
from dispatcher.ledger.check.read import read_snapshot
from dispatcher.ledger.check.verify import Defect, verify
from dispatcher.ledger.store import schema

_MAX_FINDINGS = 20
"""Findings that the text shows; --json lists all."""


@click.group("ledger", short_help="Verify the ledger of a run.", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Verify the ledger of a run."""
    if ctx.invoked_subcommand is None:
        write_message(ctx.get_help())
        ctx.exit(exit_codes.USAGE)


@command.command("check", short_help="Check a ledger, its spool and its files for damage.")
@config_argument
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(config_path: Path, overrides: tuple[str, ...], as_json: bool) -> int:
    """Check a ledger, its spool and its files for damage, and say what to do.

    Everything is read and nothing is written. Not during a run: what it settles would look lost.
    Exit codes: 0 sound; 3 damaged, or in use by a run.
    """
    config = load_config(config_path, overrides)
    snapshot = read_snapshot(Path(config.ledger.path))
    findings = verify(
        snapshot,
        results=config.sink.path if config.sink.type == "jsonl" else None,
        dead_letters=config.dead_letters.path if config.dead_letters.type == "jsonl" else None,
    )
    is_sound = not any(finding.is_damage for finding in findings)
    if as_json:
        entries = [{"what": f.what, "remedy": f.remedy, "damage": f.is_damage} for f in findings]
        ledger = {"ledger": config.ledger.path, "sound": is_sound, "findings": entries}
        write_data(json.dumps(ledger, indent=2))
    else:
        write_data("\n".join(_lines(config, snapshot, findings, is_sound=is_sound)))
    return 0 if is_sound else exit_codes.STOPPED


def _lines(
    config: Config, snapshot: LedgerSnapshot, findings: list[Defect], *, is_sound: bool
) -> Iterator[str]:
    worst_first = sorted(findings, key=lambda finding: not finding.is_damage)
    for finding in worst_first[:_MAX_FINDINGS]:
        yield f"{'DAMAGED' if finding.is_damage else 'note   '}  {finding.what}"
        yield f"         {finding.remedy}"
    if len(findings) > _MAX_FINDINGS:
        yield f"         and {len(findings) - _MAX_FINDINGS:,} more; --json lists all"
    if findings:
        yield ""
    if is_sound and snapshot.version != schema.VERSION:
        yield f"{config.ledger.path} was not looked at"
        return
    yield (
        f"{config.ledger.path} is {'sound' if is_sound else 'damaged'}: looked at "
        f"{len(snapshot.invocations):,} outstanding invocations and their payloads, "
        f"{len(snapshot.ranges):,} settled ranges, files of outcomes: {len(snapshot.files):,}"
    )
