"""The options that commands share keep paths and overrides as they are given."""

from pathlib import Path

import click
from click.testing import CliRunner

from dispatcher.cli.options import config_argument, set_option


@click.command()
@config_argument
@set_option
def command(config_path: Path, overrides: tuple[str, ...]) -> None:
    click.echo(f"{config_path!r} {overrides}")


def test_set_may_be_repeated_and_keeps_its_order() -> None:
    result = CliRunner().invoke(command, ["w.yaml", "--set", "a.b=1", "--set", "a.b=c=2"])
    assert result.output == f"{Path('w.yaml')!r} ('a.b=1', 'a.b=c=2')\n"


def test_without_set_there_are_no_overrides() -> None:
    assert CliRunner().invoke(command, ["w.yaml"]).output.endswith(" ()\n")
