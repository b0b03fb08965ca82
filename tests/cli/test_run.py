"""``run`` and ``status`` on the embedded emulator, with every exit code."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dispatcher import failpoints
from dispatcher.cli.run import exit_code
from dispatcher.observe.meter import Meter
from dispatcher.run.pipeline import RunResult


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def _results(folder: Path) -> dict[str, Any]:
    lines = (folder / "results.jsonl").read_text().splitlines()
    parsed = [json.loads(line) for line in lines]
    assert len({line["key"] for line in parsed}) == len(parsed)
    return {line["key"]: line["output"] for line in parsed}


def test_all_completed(cli: Callable[..., Result], folder: Path) -> None:
    result = cli("run", "w.yaml")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "endpoint churn, the embedded emulator at http://127.0.0.1:" in result.stderr
    assert "read 5 = completed 5 + dead 0\n" in result.stderr
    assert "\x1b" not in result.stderr
    assert _results(folder) == {f"r{i}": {"id": f"r{i}", "text": "x" * i} for i in range(5)}


def test_dead_letters(cli: Callable[..., Result], folder: Path) -> None:
    with (folder / "in.jsonl").open("a") as file:
        file.write('{"text": "no id"}\nnot json\n')
    result = cli("run", "w.yaml")
    assert result.exit_code == 2, result.stderr
    assert "read 7 = completed 5 + dead 2\n" in result.stderr
    assert "missing_key" in result.stderr
    assert "bad_json" in result.stderr


def test_an_empty_file(cli: Callable[..., Result], folder: Path) -> None:
    (folder / "in.jsonl").write_text("")
    result = cli("run", "w.yaml")
    assert result.exit_code == 0, result.stderr
    assert "read 0 = completed 0 + dead 0\n" in result.stderr
    assert _results(folder) == {}


def test_a_finished_run_again(cli: Callable[..., Result], folder: Path) -> None:
    cli("run", "w.yaml")
    result = cli("run", "w.yaml")
    assert result.exit_code == 0, result.stderr
    assert "read 5 = completed 5 + dead 0\n5 of these were settled by earlier" in result.stderr
    assert len(_results(folder)) == 5


def test_json_progress_is_json_to_the_end(cli: Callable[..., Result]) -> None:
    result = cli("run", "w.yaml", "--progress", "json")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert lines[-1]["event"] == "summary"
    assert lines[-1]["completed"] == 5
    assert lines[-1]["balanced"] is True


def test_no_progress_still_has_its_summary(cli: Callable[..., Result]) -> None:
    result = cli("run", "w.yaml", "--progress", "none")
    assert result.stderr.lstrip().startswith("finished after ")


def test_an_unknown_failpoint_is_refused(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "nowhere")
    result = cli("run", "w.yaml")
    assert result.exit_code == 1
    assert "names 'nowhere', which is no failpoint; the failpoints are completion." in result.stderr


def test_relaxed_durability_says_so(cli: Callable[..., Result]) -> None:
    result = cli("run", "w.yaml", "--set", "ledger.durability=relaxed")
    assert "durability is relaxed" in result.stderr


@pytest.mark.parametrize(
    ("override", "code", "expected"),
    [
        ("source.path=nowhere.jsonl", 1, "source.path: nowhere.jsonl does not exist"),
        ("source.path=state", 1, "source.path: state is a folder"),
        ("emulator.model=no.such:thing", 1, "no.such"),
        ("sink.path=other.jsonl", 3, "other.jsonl"),
    ],
)
def test_mistakes_that_a_run_finds(
    cli: Callable[..., Result], folder: Path, override: str, code: int, expected: str
) -> None:
    (folder / "state").mkdir()
    (folder / "other.jsonl").write_text('{"key": "of another run"}\n')
    result = cli("run", "w.yaml", "--set", override)
    error = result.stderr[result.stderr.index("error: ") :]
    assert result.exit_code == code, result.stderr
    assert expected in error
    assert "bug" not in error
    assert (folder / "other.jsonl").read_text() == '{"key": "of another run"}\n'


def test_a_port_in_use(cli: Callable[..., Result], taken: int) -> None:
    result = cli("run", "w.yaml", "--set", f"observe.port={taken}")
    assert result.exit_code == 1
    assert f"error: observe: port {taken} on 127.0.0.1 is in use" in result.stderr


def test_an_emulator_port_in_use(cli: Callable[..., Result], taken: int) -> None:
    result = cli("run", "w.yaml", "--set", f"emulator.port={taken}")
    assert result.exit_code == 1
    assert str(taken) in result.stderr


def test_the_metrics_port_is_shown(cli: Callable[..., Result]) -> None:
    result = cli("run", "w.yaml", "--set", "observe.port=0")
    assert "metrics at http://127.0.0.1:" in result.stderr


@pytest.mark.parametrize(
    ("meter", "ending", "code"),
    [
        (Meter(read=3, completed=3), RunResult(None, 0), 0),
        (Meter(read=3, completed=2, dead=1), RunResult(None, 0), 2),
        (Meter(read=3, completed=2), RunResult(None, 0), 3),
        (Meter(read=3, completed=3, dead=1), RunResult(None, 0), 3),
        (Meter(read=3, completed=2), RunResult(signal.SIGTERM, 1), 143),
        (Meter(read=3, completed=2), RunResult(signal.SIGINT, 1), 130),
        (Meter(read=3, completed=4), RunResult(signal.SIGINT, 0), 3),
    ],
)
def test_exit_codes(meter: Meter, ending: RunResult, code: int) -> None:
    assert exit_code(meter, ending) == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_and_the_same_command_line_goes_on(
    start: Callable[..., subprocess.Popen[str]],
    cli: Callable[..., Result],
    folder: Path,
    number: signal.Signals,
    code: int,
) -> None:
    slow = ("--set", "emulator.service_time=30s", "--set", "limits.drain=0s")
    process = start("run", "w.yaml", "--set", "emulator.state=emulator", *slow)
    assert process.stderr is not None
    for line in process.stderr:
        if " sent 5," in line:
            break
    running = cli("status", "w.yaml", "--json")
    process.send_signal(number)
    _, summary = process.communicate(timeout=30)
    assert process.returncode == code, summary
    assert f"stopped by {number.name} after" in summary
    assert "read 5 = completed 0 + dead 0 + unfinished 5" in summary
    assert "5 outstanding; the same command line goes on from here" in summary
    assert json.loads(running.stdout)["running"] is True

    stopped = json.loads(cli("status", "w.yaml", "--json").stdout)
    assert (stopped["read"], stopped["outstanding_records"]) == (5, 5)
    assert stopped["running"] is False
    text = cli("status", "w.yaml").stdout
    assert "stopped; the same command line goes on" in text
    assert "read 5 = completed 0 + dead 0 + unfinished 5" in text


@pytest.mark.parametrize("style", ["plain", "rich", "json"])
def test_a_reader_of_the_display_that_leaves_does_not_stop_the_run(
    folder: Path, style: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "dispatcher", "run", "w.yaml", "--progress", style]
    result = subprocess.run(command, stderr=writing, check=False)
    os.close(writing)
    assert result.returncode == 0
    assert len(_results(folder)) == 5


def test_standard_input(folder: Path) -> None:
    command = [sys.executable, "-m", "dispatcher", "run", "w.yaml", "--set", "source.path=-"]
    records = (folder / "in.jsonl").read_bytes()
    result = subprocess.run(command, input=records, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 0, result.stderr
    assert len(_results(folder)) == 5


def test_status_of_a_finished_run(cli: Callable[..., Result], folder: Path) -> None:
    with (folder / "in.jsonl").open("a") as file:
        file.write("not json\n")
    cli("run", "w.yaml")
    result = cli("status", "w.yaml")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "finished" in result.stdout
    assert "read 6 = completed 5 + dead 1\n" in result.stdout
    assert "bad_json" in result.stdout
    status = json.loads(cli("status", "w.yaml", "--json").stdout)
    assert status["finished"] is True
    assert status["dead_reasons"] == {"bad_json": 1}


def test_status_without_a_ledger(cli: Callable[..., Result], folder: Path) -> None:
    result = cli("status", "w.yaml")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: there is no ledger at state/ledger.db")
    assert not (folder / "state").exists()
