"""Write data to standard output, and messages for people to standard error."""

import os
import shutil
import sys
import textwrap
from typing import TextIO

import click


def write_data(text: str) -> None:
    """Write data to standard output.

    Raises:
        click.exceptions.Exit: Its reader has closed it (``dispatcher schema | head``).
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes at exit: that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(0) from None


def write_message(text: str) -> None:
    """Write a line for people to standard error; nothing happens where that is closed."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def paragraph(label: str, message: str, stream: TextIO) -> str:
    """Return a message behind a label, wrapped on a terminal, with its lines kept separate.

    Args:
        label: Such as ``error:``.
        message: One or more sentences, one a line.
        stream: Where it will be written; text is wrapped only for a terminal.
    """
    indent = " " * (len(label) + 1)
    lines = message.splitlines() or [""]
    if stream.isatty():
        width = max(_width(stream) - 1, 40)
        lines = [
            line
            for sentence in lines
            for line in textwrap.wrap(
                sentence,
                width - len(indent),
                break_long_words=False,
                break_on_hyphens=False,
                subsequent_indent="  " if len(lines) > 1 else "",
            )
        ]
    if stream.isatty() and not os.environ.get("NO_COLOR"):
        label = click.style(label, fg="red", bold=True)
    return f"{label} " + f"\n{indent}".join(lines)


def _width(stream: TextIO) -> int:
    """Return the width of the stream's own terminal: standard output may be a file."""
    if os.environ.get("COLUMNS", "").isdigit():
        return int(os.environ["COLUMNS"])
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns
