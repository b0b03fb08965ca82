"""The program: its commands, and what becomes of every way they can end.

Exit codes: 0 all completed; 1 usage or configuration; 2 finished with dead letters; 3 stopped with
the state kept; 130 and 143 after a signal.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from dispatcher.cli import exit_codes
from dispatcher.cli.terminal import Terminal, say

COMMANDS = {
    "run": "Dispatch the records of a configuration and collect the results.",
    "check": "Check a configuration, and with --aws the account.",
    "plan": "Show what a run would send and cost, without sending anything.",
    "status": "Show how far a run is.",
    "ledger": "Verify the ledger of a run.",
    "emulate": "Play SageMaker asynchronous inference on this machine.",
    "schema": "Print the JSON Schema of the configuration.",
}
"""Each command with its help in a sentence; its module is only imported when it is used."""


class Program(click.Group):
    """A group whose commands are modules of this package, each with a ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order they are listed in."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"dispatcher.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(  # type: ignore[override]  # it never returns, as click's does in standalone mode
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,
    ) -> NoReturn:
        """Run a command and exit; nothing but ``SystemExit`` leaves this."""
        shell = Terminal()
        extra["standalone_mode"] = False
        run: Callable[..., Any] = super().main
        try:
            code = run(args, prog_name, obj=shell, **extra)
        except BaseException as error:
            code = exit_codes.report(error, shell)
        sys.exit(code)


@click.group(
    cls=Program,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="sagemaker-async-dispatcher", prog_name="dispatcher")
@click.pass_context
def program(ctx: click.Context) -> None:
    """Dispatch records to an Amazon SageMaker asynchronous endpoint, and lose none.

    Exit codes: 0 all completed; 1 usage or configuration; 2 finished with dead letters; 3 stopped,
    state kept; 130 or 143 after a signal.
    """
    if ctx.invoked_subcommand is None:
        say(ctx.get_help())
        ctx.exit(exit_codes.USAGE)


def main() -> NoReturn:
    """Run the command line of this process."""
    # Python has no stream for what its starter closed (``2>&-``); words that nobody wants are lost.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    program.main(prog_name="dispatcher")
