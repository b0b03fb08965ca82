"""From an exception to one paragraph and an exit code."""

import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import click

from dispatcher.cli.terminal import Terminal, paragraph, say
from dispatcher.errors import ConfigError, DispatcherError, RunStopped

USAGE = 1
DEAD_LETTERS = 2
STOPPED = 3


def report(error: BaseException, shell: Terminal) -> int:
    """Tell the user what ended the program and return its exit code.

    Args:
        error: Whatever came up to the top; groups are searched for the error that matters.
        shell: Where the state is.
    """
    cause = most_telling(error)
    match cause:
        case click.UsageError():
            return _usage(cause)
        case click.exceptions.Exit():
            return cause.exit_code
        case SystemExit():
            return cause.code if isinstance(cause.code, int) else USAGE
        case click.ClickException():
            return _fail(cause.format_message(), USAGE)
        case ConfigError():
            return _fail(str(cause), USAGE)
        case DispatcherError():
            return _fail(str(cause), STOPPED)
        case KeyboardInterrupt() | click.Abort():
            return _fail("interrupted", 128 + signal.SIGINT)
        case _:
            return _bug(error, cause, shell)


def most_telling(error: BaseException) -> BaseException:
    """Return the one error of a group that says why: what a person can mend comes first."""
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


def _usage(error: click.UsageError) -> int:
    message = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    command = error.ctx.command_path if error.ctx else "dispatcher"
    return _fail(f"{message}; see {command} --help", USAGE)


def _bug(error: BaseException, cause: BaseException, shell: Terminal) -> int:
    """Report what nobody foresaw: the traceback goes into a file, its text may hold a payload."""
    try:
        place = f"Its traceback is in {_keep_traceback(error, shell)}; please report it with that."
    except OSError as problem:
        place = f"Its traceback could not be written ({problem.strerror})."
    frames = traceback.extract_tb(cause.__traceback__)
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    kept = (
        "The state of the run is kept: the same command line goes on where it stopped. "
        if shell.state_folder
        else ""
    )
    return _fail(
        f"this is a bug in dispatcher: {type(cause).__name__}{where}. {kept}{place}", STOPPED
    )


def _keep_traceback(error: BaseException, shell: Terminal) -> Path:
    folder = shell.state_folder
    if folder is None or not folder.is_dir():
        folder = Path(tempfile.gettempdir())
    path = folder / f"dispatcher-bug-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    path.touch(mode=0o600)
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return path


def _fail(message: str, code: int) -> int:
    say(paragraph("error:", message, sys.stderr))
    return code
