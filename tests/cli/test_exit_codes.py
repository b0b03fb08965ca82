"""Every error that ends the program becomes one paragraph and an exit code."""

from pathlib import Path

import click
import pytest

from dispatcher.cli.exit_codes import CommandContext, report, root_cause
from dispatcher.errors import ConfigError, Denied, RunStopped, StateError, Throttled


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (ConfigError("mend it"), 1, "error: mend it\n"),
        (StateError("it is damaged"), 3, "error: it is damaged\n"),
        (Denied("no such endpoint"), 3, "error: no such endpoint\n"),
        (Throttled("too many"), 3, "error: too many\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (click.Abort(), 130, "error: interrupted\n"),
        (click.UsageError("No such thing."), 1, "error: no such thing; see dispatcher --help\n"),
        (click.ClickException("odd"), 1, "error: odd\n"),
        (click.exceptions.Exit(2), 2, ""),
        (SystemExit(7), 7, ""),
    ],
)
def test_an_error_becomes_its_text_and_exit_code(
    error: BaseException, code: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error, CommandContext()) == code
    assert capsys.readouterr().err == expected


def test_a_group_shows_the_error_that_a_person_can_correct() -> None:
    denied = Denied("no")
    group = BaseExceptionGroup(
        "", [ValueError("x"), ExceptionGroup("", [KeyError("y"), denied]), KeyboardInterrupt()]
    )
    assert root_cause(group) is denied
    assert root_cause(ExceptionGroup("", [RunStopped("r"), ConfigError("c")])).args == ("c",)
    assert isinstance(root_cause(ExceptionGroup("", [KeyError("y")])), KeyError)


def test_a_bug_is_reported_without_its_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        raise KeyError("secret payload")
    except KeyError as error:
        code = report(ExceptionGroup("group", [error]), CommandContext(tmp_path))
    shown = capsys.readouterr().err
    [file] = tmp_path.iterdir()
    assert code == 3
    assert shown.startswith("error: this is a bug in dispatcher: KeyError in test_exit_codes.py:")
    assert "the same command line goes on" in shown
    assert str(file) in shown
    assert "secret payload" not in shown
    assert shown.count("\n") == 1
    assert "KeyError: 'secret payload'" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_bug_outside_of_a_run_does_not_talk_of_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report(KeyError("x"), CommandContext())
    assert "state" not in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1


def test_a_bug_whose_traceback_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", refuse)
    assert report(KeyError("x"), CommandContext(tmp_path)) == 3
    assert "could not be written (No space left on device)" in capsys.readouterr().err
