"""``ledger check`` says whether a run's ledger is whole, and what to do where it is not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from dispatcher.ledger.store.lock import lock

Cli = Callable[..., Result]


@pytest.fixture
def finished(cli: Cli, folder: Path) -> Path:
    """Return the folder of a run that has five results and a dead letter."""
    with (folder / "in.jsonl").open("a") as file:
        file.write("{broken\n")
    assert cli("run", "w.yaml", "--progress", "none").exit_code == 2
    return folder


def test_a_finished_run_is_sound(cli: Cli, finished: Path) -> None:
    before = sorted(finished.rglob("*"))
    result = cli("ledger", "check", "w.yaml")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout == (
        "state/ledger.db is sound: looked at 0 outstanding invocations and their payloads, "
        "0 settled ranges, files of outcomes: 2\n"
    )
    assert json.loads(cli("ledger", "check", "w.yaml", "--json").stdout) == {
        "ledger": "state/ledger.db",
        "sound": True,
        "findings": [],
    }
    assert sorted(finished.rglob("*")) == before


def test_damage_is_shown_with_what_to_do_about_it(cli: Cli, finished: Path) -> None:
    (finished / "results.jsonl").unlink()
    with (finished / "dead.jsonl").open("a") as file:
        file.write("{")
    result = cli("ledger", "check", "w.yaml")
    assert result.exit_code == 3
    first, remedy, *_, note, nothing, empty, last = result.stdout.splitlines()
    assert first.startswith("DAMAGED  results.jsonl is missing, and ")
    assert remedy == "         Put the file back."
    assert note.startswith("note     dead.jsonl has 1 bytes after byte ")
    assert nothing == "         No action is needed: the next run repairs it by itself."
    assert empty == ""
    assert last.startswith("state/ledger.db is damaged: looked at ")

    report = json.loads(cli("ledger", "check", "w.yaml", "--json").stdout)
    assert report["sound"] is False
    assert [finding["damage"] for finding in report["findings"]].count(False) == 1
    assert report["findings"][1]["remedy"] == "Put the file back."


def test_many_findings_are_shortened(
    cli: Cli, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.cli.ledger._MAX_FINDINGS", 1)
    (finished / "results.jsonl").unlink()
    (finished / "dead.jsonl").unlink()
    result = cli("ledger", "check", "w.yaml")
    assert result.stdout.count("DAMAGED") == 1
    assert "         and 3 more; --json lists all\n" in result.stdout


def test_a_ledger_in_use_is_left_alone(cli: Cli, finished: Path) -> None:
    with lock(finished / "state" / "ledger.db"):
        result = cli("ledger", "check", "w.yaml")
    assert result.exit_code == 3
    assert "is in use by a run" in result.stderr
    assert result.stdout == ""


def test_no_ledger_is_a_mistake_of_the_configuration(cli: Cli, folder: Path) -> None:
    result = cli("ledger", "check", "w.yaml")
    assert result.exit_code == 1
    assert "there is no ledger at state/ledger.db" in result.stderr


def test_ledger_alone_says_what_there_is(cli: Cli) -> None:
    result = cli("ledger")
    assert result.exit_code == 1
    assert "check  Check a ledger, its spool and its files for damage." in result.stderr
