"""The program: its commands, and the exit code for every way that they can end.

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
from dispatcher.cli.exit_codes import CommandContext
from dispatcher.cli.terminal import write_message

COMMANDS = {
    "run": "Dispatch the records of a configuration and collect the results.",
    "check": "Check a configuration, and with --aws the account.",
    "plan": "Show what a run would send and cost, without sending anything.",
    "status": "Show how far a run is.",
    "ledger": "Verify the ledger of a run.",
    "emulate": "Emulate SageMaker asynchronous inference on this machine.",
    "schema": "Print the JSON Schema of the configuration.",
}
"""Commands with their help; the module of each is imported only when it is used."""


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

    def main(  # type: ignore[override]  # never returns, as click's in standalone mode
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,
    ) -> NoReturn:
        """Run a command and exit; only ``SystemExit`` leaves this method."""
        context = CommandContext()
        extra["standalone_mode"] = False
        run: Callable[..., Any] = super().main
        try:
            code = run(args, prog_name, obj=context, **extra)
        except BaseException as error:
            code = exit_codes.report(error, context)
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
        write_message(ctx.get_help())
        ctx.exit(exit_codes.USAGE)


def main() -> NoReturn:
    """Run the command line of this process."""
    # Python has no stream where the caller closed it (``2>&-``); what is written to it is dropped.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    program.main(prog_name="dispatcher")
