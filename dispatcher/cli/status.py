"""``dispatcher status``: show how far a run is, from its ledger, also while it is running."""

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path

import click

from dispatcher.cli.options import config_argument, set_option
from dispatcher.cli.terminal import write_data
from dispatcher.config.connectors import DeadLetterSettings, SinkSettings
from dispatcher.config.load import load_config
from dispatcher.config.settings import Config
from dispatcher.ledger.check.status import LedgerStatus, read_status
from dispatcher.observe import number_format


@click.command("status", short_help="Show how far a run is.")
@config_argument
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config_path: Path, overrides: tuple[str, ...], as_json: bool) -> int:
    """Show how far a run is, also while a process is working on it."""
    config = load_config(config_path, overrides)
    status = read_status(Path(config.ledger.path))
    if as_json:
        write_data(json.dumps(dataclasses.asdict(status), indent=2))
    else:
        write_data("\n".join(status_lines(status, config, time.time())))
    return 0


def status_lines(status: LedgerStatus, config: Config, now: float) -> Iterator[str]:
    """Yield the status as lines for people.

    Args:
        status: As read from the ledger.
        config: Names the source and the sinks.
        now: Seconds since the epoch.
    """
    if status.running:
        state = "running"
    elif status.finished:
        state = "finished"
    else:
        state = "stopped; the same command line goes on"
    begun = number_format.span(max(now - status.created, 0))
    unfinished = status.read - status.completed - status.dead
    invocations = f"accepted {status.accepted:,}, planned {status.planned:,}"
    if status.outstanding_records:
        invocations += f", with {status.outstanding_records:,} records"
    rows = [
        ["run", f"{status.run_tag}, begun {begun} ago, {state}"],
        [
            "records",
            f"read {status.read:,} = completed {status.completed:,} + dead {status.dead:,}"
            + (f" + unfinished {unfinished:,}" if unfinished else ""),
        ],
        [
            "invocations",
            invocations,
        ],
    ]
    if status.oldest_planned is not None:
        rows.append(
            ["oldest", f"outstanding for {number_format.span(now - status.oldest_planned)}"]
        )
    if status.split:
        rows.append(["split", f"{status.split:,} failed, into {status.parts:,} invocations"])
    if status.repeated:
        rows.append(["repeated", f"perhaps invoked more than once: {status.repeated:,}"])
    rows += [
        ["results", _destination(config.sink, status.results_bytes)],
        ["dead letters", _destination(config.dead_letters, status.dead_letter_bytes)],
    ]
    yield from number_format.columns(rows, left=2)
    if status.dead_reasons:
        yield ""
        ordered = sorted(status.dead_reasons.items(), key=lambda item: -item[1])
        yield from number_format.columns(
            [["dead letters by reason", "records"], *([name, f"{n:,}"] for name, n in ordered)]
        )
    if status.marks and config.source.type == "jsonl":
        yield ""
        yield from number_format.columns(
            [
                ["read to" if status.finished else "resumes at", "offset", "line"],
                *([stream, f"{offset:,}", f"{line:,}"] for stream, offset, line in status.marks),
            ]
        )


def _destination(sink: SinkSettings | DeadLetterSettings, size: int) -> str:
    """Return where outcomes go, and the size of the file if it is one."""
    return (
        f"{sink.destination}, {number_format.size(size)}"
        if sink.type == "jsonl"
        else sink.destination
    )
