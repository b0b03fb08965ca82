"""The commands, their help, and what a mistake at the command line leads to."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

import dispatcher.cli
from dispatcher.cli.main import COMMANDS, program


def test_the_promised_entry_point() -> None:
    assert dispatcher.cli.__all__ == ["main"]
    assert callable(dispatcher.cli.main)


def test_help_lists_every_command_with_its_own_sentence(cli: Callable[..., Result]) -> None:
    result = cli("--help")
    assert result.exit_code == 0
    context = click.Context(program)
    for name, sentence in COMMANDS.items():
        assert f"{name} " in result.stdout
        command = program.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(limit=100) == sentence


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(cli: Callable[..., Result], name: str) -> None:
    result = cli(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: dispatcher {name}")
    assert result.stderr == ""
    options = result.stdout.split("Options:")[1]
    # Every option says what it is for.
    for line in options.splitlines():
        if line.startswith("  -") and "--help" not in line:
            assert len(line.split("  ")) > 2 or line.strip().endswith(("]", "TEXT", "NUMBER"))


def test_the_help_of_run_lists_the_exit_codes(cli: Callable[..., Result]) -> None:
    text = " ".join(cli("run", "--help").stdout.split())
    assert "0 all completed; 1 usage or configuration; 2 finished with dead letters" in text


def test_help_imports_no_command() -> None:
    code = (
        "import sys\n"
        "from dispatcher.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'aioboto3', 'aiohttp', 'rich', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code, "--help"], check=True, stdout=subprocess.DEVNULL)


def test_no_command_shows_the_help_as_an_error(cli: Callable[..., Result]) -> None:
    result = cli()
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Commands:" in result.stderr


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["rnu"], "error: no such command 'rnu'"),
        (["run"], "error: missing argument 'CONFIG'; see dispatcher run --help\n"),
        (["run", "w.yaml", "--forse"], "error: no such option"),
        (["run", "w.yaml", "--progress", "fancy"], "error: invalid value for '--progress'"),
        (["run", "w.yaml", "more"], "error: got unexpected extra argument (more)"),
        (["emulate", "--set", "a.b=1"], "error: --set needs --config; see dispatcher emulate"),
        (
            ["emulate", "--service-time", "soon"],
            "error: invalid value for '--service-time': 'soon' is not a duration",
        ),
        (["emulate", "--port", "70000"], "error: invalid value for '--port'"),
    ],
)
def test_usage_errors(cli: Callable[..., Result], args: list[str], expected: str) -> None:
    result = cli(*args)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(expected)
    assert result.stderr.count("\n") == 1
    assert f"; see dispatcher{' ' + args[0] if args[0] != 'rnu' else ''} --help" in result.stderr


@pytest.mark.parametrize("command", ["run", "check", "status"])
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, "error: there is no configuration file w.yaml\n"),
        ("", "error: w.yaml: it is empty; the least it needs is endpoint: NAME and source: "),
        (
            "endpoint: a\nsource: {paht: x}\n",
            'error: w.yaml:2: unknown key "paht" in source; did you mean path?\n',
        ),
        (
            "endpoint: a\nsource: {key: id}\n",
            (
                "error: w.yaml:2: source: path is missing (file, glob, list of these, or - for "
                "standard input)\n"
            ),
        ),
        ("endpoint: a\nsource: [\n", "error: w.yaml:2: a quote or bracket is opened here"),
    ],
)
def test_configuration_errors(
    cli: Callable[..., Result], folder: Path, command: str, config: str | None, expected: str
) -> None:
    path = folder / "w.yaml"
    if config is None:
        path.unlink()
    else:
        path.write_text(config)
    result = cli(command, "w.yaml")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(expected)
