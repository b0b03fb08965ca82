"""The command line: one module a command, imported when it is used."""

from dispatcher.cli.main import main

__all__ = ["main"]
