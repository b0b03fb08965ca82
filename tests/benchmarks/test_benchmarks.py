"""Every benchmark runs on a small input, and writes its table and its figures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CALLS = ["benchmarks.calls", "--seconds", "0.05", "--bytes", "1000"]
LEDGER = ["benchmarks.ledger", "--seconds", "0.1", "--records", "300", "--packed-records", "1000"]
BACKLOG = ["benchmarks.backlog", "--records", "20000", "--packed", "4", "--room", "200"]
LINE = ["benchmarks.line", "--records", "300", "--packed-records", "1000", "--peer-records", "40"]


def run(command: list[str], out: Path) -> tuple[str, dict[str, Any]]:
    """Run a benchmark; return the Markdown and the JSON that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", *command, "--out", str(out)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (table,) = out.glob("*.md")
    (figures,) = out.glob("*.json")
    found: dict[str, Any] = json.loads(figures.read_text())
    return table.read_text(), found


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "command",
    [CALLS, LINE, [*LINE, "--response-in-event"]],
    ids=["calls", "line", "in-event"],
)
def test_a_benchmark_runs_and_writes_its_results(command: list[str], tmp_path: Path) -> None:
    text, found = run([*command, "--repetitions", "1"], tmp_path)
    assert "| ours " in text
    assert found


@pytest.mark.slow
def test_the_accounts_of_the_ledger_hold_every_invocation(tmp_path: Path) -> None:
    text, found = run([*LEDGER, "--repetitions", "1", "--groups", "10"], tmp_path)
    assert "| ours " in text
    assert [run["group"] for run in found["alone"]] == [10, 10]
    unpacked, packed = found["whole"]
    for door in ("Ledger.accept", "Ledger.claim", "Ledger.payload"):
        assert unpacked["passed"][door] == 300
        assert 10 <= packed["passed"][door] <= 12
    for whole in (unpacked, packed):
        assert whole["doors_us"]["SqliteStore.apply"] > 0
        assert whole["doors_us"]["Ledger.settle"] > 0
        assert whole["ledger_us"] == pytest.approx(sum(whole["doors_us"].values()))


@pytest.mark.slow
def test_a_backlog_with_stuck_invocations_is_finished_after_a_kill(tmp_path: Path) -> None:
    held = ["--hold", "200", "--hold-every", "3", "--kill-at", "0.25", "--every", "0.05"]
    text, found = run([*BACKLOG, *held], tmp_path)
    assert "exactly one line for each record" in text
    samples = found["samples"]
    assert {sample["process"] for sample in samples} == {0, 1}
    assert max(sample["held"] for sample in samples) == found["held"] == 200
    assert found["at_kill"]["invocations"] >= 200
    assert 0 < found["first_new_call"] < 10


def test_the_packer_keeps_every_record_and_fills_payloads(tmp_path: Path) -> None:
    packer = ["benchmarks.packer", "--bytes", "300", "--megabytes", "2", "--repetitions", "1"]
    text, found = run(packer, tmp_path)
    assert "| json spliced " in text
    fill = {run["contender"]: run["fill"] for run in found["runs"]}
    assert len(fill) == 11
    assert min(fill[name] for name in fill if "+" in name) > 0.95
    assert min(fill[name] for name in fill if "spliced" in name or "parsed" in name) > 0.97
