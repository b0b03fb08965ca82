"""The command line inside of the test's process, and as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dispatcher.cli.main import program

CONFIG = """\
endpoint: churn
emulator: {service_time: 1ms}
source: {path: in.jsonl, key: id}
ledger: {path: state/ledger.db}
sink: {path: results.jsonl}
dead_letters: {path: dead.jsonl}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with ``w.yaml`` and five records to run on the emulator."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    (tmp_path / "w.yaml").write_text(CONFIG)
    lines = [json.dumps({"id": f"r{i}", "text": "x" * i}) for i in range(5)]
    (tmp_path / "in.jsonl").write_text("".join(line + "\n" for line in lines))
    return tmp_path


@pytest.fixture
def cli(folder: Path) -> Callable[..., Result]:
    """Run a command line in the folder, in this process."""

    def run(*args: str) -> Result:
        result = CliRunner().invoke(program, args, prog_name="dispatcher")
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command line in the folder as a process of its own."""
    processes: list[subprocess.Popen[str]] = []

    def _start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher", *args],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield _start
    for process in processes:
        process.kill()
        process.communicate()
