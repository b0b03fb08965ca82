"""The benchmarks run, on little of everything, and write what they found."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CALLS = ["benchmarks.calls", "--seconds", "0.05", "--bytes", "1000"]
LINE = ["benchmarks.line", "--records", "300", "--packed-records", "1000", "--peer-records", "40"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "command", [CALLS, LINE, [*LINE, "--response-in-event"]], ids=["calls", "line", "in-event"]
)
def test_a_benchmark_runs_and_writes_its_results(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command, "--repetitions", "1", "--out", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (table,) = tmp_path.glob("*.md")
    (figures,) = tmp_path.glob("*.json")
    assert "| ours " in table.read_text()
    found: dict[str, Any] = json.loads(figures.read_text())
    assert found
