"""Turn the error that ended the program into one paragraph and an exit code."""

import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from dispatcher.cli.terminal import paragraph, write_message
from dispatcher.errors import ConfigError, DispatcherError, RunStopped

USAGE = 1
DEAD_LETTERS = 2
STOPPED = 3


@dataclass(slots=True)
class CommandContext:
    """The facts of a failed command that the report of its error shows.

    Attributes:
        state_folder: Where the run keeps its state; None before a configuration is read.
    """

    state_folder: Path | None = None


def report(error: BaseException, context: CommandContext) -> int:
    """Write a paragraph about what ended the program and return its exit code.

    Args:
        error: As it left the command; in a group, the root cause is reported.
        context: Of the command.
    """
    cause = root_cause(error)
    match cause:
        case click.UsageError():
            return _report_usage(cause)
        case click.exceptions.Exit():
            return cause.exit_code
        case SystemExit():
            return cause.code if isinstance(cause.code, int) else USAGE
        case click.ClickException():
            return _write_error(cause.format_message(), USAGE)
        case ConfigError():
            return _write_error(str(cause), USAGE)
        case DispatcherError():
            return _write_error(str(cause), STOPPED)
        case KeyboardInterrupt() | click.Abort():
            return _write_error("interrupted", 128 + signal.SIGINT)
        case _:
            return _report_bug(error, cause, context)


def root_cause(error: BaseException) -> BaseException:
    """Return the error of a group that explains it best: first those that a person can correct."""
    leaves = list(_leaves(error))
    for kind in (ConfigError, RunStopped, DispatcherError, KeyboardInterrupt, Exception):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _report_usage(error: click.UsageError) -> int:
    message = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    command = error.ctx.command_path if error.ctx else "dispatcher"
    return _write_error(f"{message}; see {command} --help", USAGE)


def _report_bug(error: BaseException, cause: BaseException, context: CommandContext) -> int:
    """Report an unexpected error: its traceback goes into a file, because it may hold a payload."""
    try:
        place = (
            f"Its traceback is in {_write_traceback(error, context)}; please report it with that."
        )
    except OSError as problem:
        place = f"Its traceback could not be written ({problem.strerror})."
    frames = traceback.extract_tb(cause.__traceback__)
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    kept = (
        "The state of the run is kept: the same command line goes on where it stopped. "
        if context.state_folder
        else ""
    )
    return _write_error(
        f"this is a bug in dispatcher: {type(cause).__name__}{where}. {kept}{place}", STOPPED
    )


def _write_traceback(error: BaseException, context: CommandContext) -> Path:
    folder = context.state_folder
    if folder is None or not folder.is_dir():
        folder = Path(tempfile.gettempdir())
    path = folder / f"dispatcher-bug-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    path.touch(mode=0o600)
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return path


def _write_error(message: str, code: int) -> int:
    write_message(paragraph("error:", message, sys.stderr))
    return code
