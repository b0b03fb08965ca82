"""The console of every display: text as it is, and a closed pipe as an ordinary error."""

from typing import NoReturn, TextIO

from rich.console import Console


class WatchConsole(Console):
    """A console whose reader may leave without ending the run."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise what an ordinary stream raises; rich would leave the program.

        Raises:
            BrokenPipeError: Always.
        """
        raise BrokenPipeError


def open_console(stream: TextIO) -> Console:
    """Return a console that prints text as it is: no markup, no guessed colours, no wrapping."""
    return WatchConsole(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
