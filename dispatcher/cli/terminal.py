"""Talking to the person at the terminal, and to the program behind a pipe."""

import os
import shutil
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click


@dataclass(slots=True)
class Terminal:
    """What the program knows of the command under way, for the case that it fails.

    Attributes:
        state_folder: Where the run keeps its state, once a configuration is read.
    """

    state_folder: Path | None = None


def emit(text: str) -> None:
    """Write data to standard output.

    Raises:
        click.exceptions.Exit: Nobody reads it any more (``dispatcher schema | head``).
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What the interpreter would flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(0) from None


def say(text: str) -> None:
    """Write a line for people to standard error; a closed one is nobody's loss."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def paragraph(label: str, message: str, stream: TextIO) -> str:
    """Return a message behind a label, wrapped on a terminal, its lines kept apart.

    Args:
        label: Such as ``error:``.
        message: One sentence or several, one a line.
        stream: Where it will be written; not a terminal: nothing is wrapped.
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
    """Return the columns of the stream's own terminal; standard output may be a file."""
    if os.environ.get("COLUMNS", "").isdigit():
        return int(os.environ["COLUMNS"])
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns
