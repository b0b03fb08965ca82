"""The real command in processes of its own, against an emulator in another one."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults import crash


@dataclass
class Bench:
    """A folder with records and a configuration, and an emulator that outlives the runs."""

    folder: Path
    config: Path
    environment: dict[str, str]
    texts: dict[str, str] = field(repr=False)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dispatcher", "run", str(self.config), *arguments],
            env={**os.environ, **self.environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run to the end; return the exit code and what was said."""
        process = self.start("--progress", "none", *arguments)
        _, said = process.communicate(timeout=50)
        assert "Traceback" not in said
        return process.returncode, said

    def kill_after(self, lines: int) -> None:
        """Start a run and kill it with SIGKILL once it has written some results."""
        process = self.start("--progress", "none")
        results = self.folder / "results.jsonl"
        while not results.exists() or results.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, process.communicate()[1]
        process.kill()
        process.communicate()

    def wrong(self) -> list[str]:
        return crash.check(self.folder, self.texts)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    texts = crash.write_records(tmp_path / "in.jsonl", 400, 1_000, random.Random(7))
    with crash.emulator(tmp_path, "--service-time", "20ms", "--instances", "16") as told:
        yield Bench(tmp_path, crash.configure(tmp_path, told), told, texts)
