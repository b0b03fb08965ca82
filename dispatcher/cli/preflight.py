"""Preflight checks of a run's files, and a description of what it would do."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dispatcher import limits
from dispatcher.config.settings import Config
from dispatcher.connectors.files.globbing import matching_files
from dispatcher.connectors.files.source import must_be_json
from dispatcher.connectors.jsonl.paths import STDIN, InputStream, expand, inspect_streams
from dispatcher.errors import DispatcherError
from dispatcher.flow.finding import Finding
from dispatcher.ledger.check.status import LedgerStatus, read_status
from dispatcher.observe import number_format

_DELETED = {
    "on_settled": "deleted when settled",
    "never": "never deleted",
    "by_lifecycle": "deleted by a lifecycle rule",
}
"""The fate of staged objects, by ``staging.delete``."""


def check_source(config: Config) -> tuple[list[Finding], list[InputStream]]:
    """Check the files of the source, without reading their records; ``--aws`` checks a queue."""
    if config.source.type == "sqs":
        return list(_check_in_flight(config)), []
    if config.source.type == "files":
        return [_check_files(config)], []
    findings: list[Finding] = []
    streams: list[InputStream] = []
    try:
        names = expand(config.source.path)
    except DispatcherError as error:
        return [Finding("source", ok=False, detail=str(error))], []
    compression = None if config.source.compression == "auto" else config.source.compression
    for name in names:
        try:
            (stream,) = inspect_streams(
                [name], stdin=0, marks={}, heads={}, compression=compression
            )
        except DispatcherError as error:
            findings.append(Finding("source", ok=False, detail=str(error)))
            continue
        streams.append(stream)
        size = "a pipe or terminal" if stream.size is None else number_format.size(stream.size)
        label = "standard input" if name == STDIN else name
        findings.append(Finding("source", ok=True, detail=f"{label}, {size}"))
    return findings, streams


def _check_files(config: Config) -> Finding:
    """Count the files that are records, without opening them."""
    count = size = 0
    try:
        for pattern in config.source.path:
            for path in matching_files(pattern):
                count += 1
                with suppress(OSError):
                    size += Path(path).stat().st_size
    except DispatcherError as error:
        return Finding("source", ok=False, detail=str(error))
    return Finding("source", ok=True, detail=f"{count:,} files, {number_format.size(size)}")


def _check_in_flight(config: Config) -> Iterator[Finding]:
    records = config.limits.outstanding * config.packing.max_records
    if records > limits.SQS_IN_FLIGHT_MESSAGES:
        yield Finding(
            "source",
            ok=None,
            detail=f"limits.outstanding times packing.max_records is {records:,}, and SQS delivers "
            f"no more while {limits.SQS_IN_FLIGHT_MESSAGES:,} messages are in flight",
        )


def check_outputs(config: Config) -> list[Finding]:
    """Check the files that a run writes to, and what earlier runs left in them."""
    findings = [_check_writable("ledger", "ledger.path", Path(config.ledger.path))]
    findings += [
        _check_writable(name, key, Path(path)) for name, key, path in _output_files(config)
    ]
    if all(finding.ok for finding in findings):
        findings += _check_earlier_run(config)
    return findings


def _output_files(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield name, key and path of each file that outcomes go to."""
    if config.sink.type == "jsonl":
        yield "results", "sink.path", config.sink.path
    if config.dead_letters.type == "jsonl":
        yield "dead letters", "dead_letters.path", config.dead_letters.path


def _check_writable(name: str, key: str, path: Path) -> Finding:
    """Check that a file can be written; the run creates missing folders."""
    if path.is_dir():
        return Finding(name, ok=False, detail=f"{path} is a folder; name a file in {key}")
    if path.exists():
        if os.access(path, os.W_OK):
            return Finding(
                name, ok=True, detail=f"{path}, {number_format.size(path.stat().st_size)}"
            )
        return Finding(name, ok=False, detail=f"{path} may not be written; see its permissions")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return Finding(name, ok=False, detail=f"{path}: {folder} is a file; choose another {key}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(name, ok=False, detail=f"{path}: {folder} may not be written to")
    return Finding(name, ok=True, detail=f"{path}, new")


def _check_earlier_run(config: Config) -> Iterator[Finding]:
    ledger = Path(config.ledger.path)
    if ledger.exists():
        try:
            status = read_status(ledger)
        except DispatcherError as error:
            yield Finding("run", ok=False, detail=str(error))
            return
        yield _check_sizes(config, status) or _resumption(status)
        return
    for _, key, name in _output_files(config):
        path = Path(name)
        if path.exists() and path.stat().st_size:
            yield Finding(
                "run",
                ok=False,
                detail=f"{path} holds lines of another run, and {ledger} does not exist; move the "
                f"file away, choose another {key}, or name the ledger of that run in ledger.path",
            )


def _check_sizes(config: Config, status: LedgerStatus) -> Finding | None:
    """Return a failure where a file lacks lines that were recorded, or holds another run's."""
    sizes = {"results": status.results_bytes, "dead letters": status.dead_letter_bytes}
    for name, key, path in _output_files(config):
        size = Path(path).stat().st_size if Path(path).exists() else 0
        if size < sizes[name]:
            return Finding(
                "run",
                ok=False,
                detail=f"{path} holds {size:,} bytes, and the ledger recorded {sizes[name]:,}: "
                "restore it, or begin a new run with another ledger.path",
            )
        if size and not status.read:
            return Finding(
                "run",
                ok=False,
                detail=f"{path} holds lines of another run: the ledger has no record of them; move "
                f"the file away, or choose another {key}",
            )
    return None


def _resumption(status: LedgerStatus) -> Finding:
    settled = status.completed + status.dead
    if status.running:
        return Finding("run", ok=None, detail=f"{status.run_tag} is running in another process")
    if status.finished:
        return Finding("run", ok=True, detail=f"{status.run_tag} is finished: {settled:,} settled")
    return Finding(
        "run", ok=True, detail=f"resumes {status.run_tag}: {settled:,} of {status.read:,} settled"
    )


def describe_run(config: Config, streams: list[InputStream]) -> list[list[str]]:
    """Return what would run, as rows of a name and a short description."""
    packing = config.packing
    records = f"up to {packing.max_records:,} records" if packing.max_records > 1 else "1 record"
    is_single = packing.framing != "none" and packing.max_records == 1
    more = "; set packing.max_records to send more" if is_single else ""
    inline = number_format.size(limits.INLINE_BODY_BYTES)
    calls, outstanding = config.limits.concurrency, config.limits.outstanding
    staging, completion = config.staging, config.completion
    sweep = f"S3 after {number_format.span(completion.sweep_after)} without one"
    return [
        ["endpoint", f"{config.endpoint.name}{_where(config)}"],
        ["source", _describe_source(config, streams)],
        [
            "packing",
            f"{packing.encodings[0]}, framing {packing.framing}, {records} an invocation{more}",
        ],
        [
            "staging",
            f"above {inline} to s3://{staging.bucket}/{staging.prefix}, {_DELETED[staging.delete]}"
            if staging.bucket
            else f"above {inline} to the emulator's bucket"
            if config.emulator
            else f"none: records above {inline} become dead letters",
        ],
        [
            "limits",
            f"{calls:,} calls at once, {outstanding:,} invocations outstanding",
        ],
        [
            "completion",
            f"events of {completion.queue_url}, {sweep}"
            if completion.queue_url
            else f"events of the emulator, {sweep}"
            if config.emulator
            else "no queue: S3 is asked when completions are expected",
        ],
        ["results", f"{config.sink.destination}, join {config.sink.join}"],
        ["dead letters", config.dead_letters.destination],
        ["ledger", f"{config.ledger.path}, durability {config.ledger.durability}"],
    ]


def _describe_source(config: Config, streams: list[InputStream]) -> str:
    """Return where records come from, and what their keys are."""
    source = config.source
    if source.type == "files":
        kind = "one JSON value" if must_be_json(source, config.packing) else "a record as it is"
        return f"{', '.join(source.path)}, each file is {kind}, key is its path"
    if source.type == "sqs":
        key = f"the field {source.key}" if source.key else "the message's id"
        end = "never ends by itself"
        if source.until_empty is not None:
            end = f"ends when it delivered nothing for {number_format.span(source.until_empty)}"
        return f"{source.queue_url}, key is {key}, {end}"
    sizes = [stream.size for stream in streams]
    known = sum(size for size in sizes if size is not None)
    files = "1 file" if len(streams) == 1 else f"{len(streams):,} files"
    key = f"the field {source.key}" if source.key else "file and line"
    return (
        f"{files}, {'at least ' if None in sizes else ''}{number_format.size(known)}, key is {key}"
    )


def _where(config: Config) -> str:
    if config.emulator is not None:
        return f" on the embedded emulator, model {config.emulator.model}"
    region = config.aws.region or os.environ.get("AWS_REGION") or "the region of the environment"
    return f" in {region}"
