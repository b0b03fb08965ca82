"""The real command in processes of its own, against an emulator in another one."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.aws.http.peer import LOOPS
from tests.faults import crash

RECORDS = 300


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what is asynchronous here, the faults of our HTTP client, on both loops."""
    return LOOPS


@dataclass
class Bench:
    """A folder with records and a configuration, and an emulator that outlives the runs."""

    folder: Path
    config: Path
    environment: dict[str, str]
    texts: dict[str, str] = field(repr=False)
    stop_emulator: Callable[[], None]

    def start(self, *arguments: str, stdin: int | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dispatcher", "run", str(self.config), *arguments],
            env={**os.environ, **self.environment},
            stdin=stdin,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, stdin: int | None = None) -> tuple[int, str]:
        """Run to the end; return the exit code and what was said."""
        process = self.start("--progress", "none", *arguments, stdin=stdin)
        _, said = process.communicate(timeout=50)
        assert "Traceback" not in said
        return process.returncode, said

    def wait_for(self, process: subprocess.Popen[str], *, lines: int) -> None:
        """Wait until a run has written some results."""
        while crash.lines_of(self.folder) < lines:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(crash.LOOK_SECONDS)

    def kill_after(self, lines: int, *arguments: str, stdin: int | None = None) -> None:
        """Start a run and kill it with SIGKILL once it has written some results."""
        process = self.start("--progress", "none", *arguments, stdin=stdin)
        self.wait_for(process, lines=lines)
        process.kill()
        _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL, said

    def status(self) -> dict[str, Any]:
        shown = subprocess.run(
            [sys.executable, "-m", "dispatcher", "status", str(self.config), "--json"],
            stdout=subprocess.PIPE,
            check=True,
        )
        status: dict[str, Any] = json.loads(shown.stdout)
        return status

    def wrong(self) -> list[str]:
        return crash.check(self.folder, self.texts)


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[MakeBench]:
    """Make a bench; without arguments its records take the emulator a second and a half."""
    with ExitStack() as stack:

        def make(
            *emulator: str,
            service_time: str = "50ms",
            instances: int = 10,
            **sections: dict[str, Any],
        ) -> Bench:
            texts = crash.write_records(tmp_path / "in.jsonl", RECORDS, 1_000, random.Random(7))
            slow = ("--service-time", service_time, "--instances", str(instances))
            exported = stack.enter_context(crash.emulator(tmp_path, *slow, *emulator))
            sections.setdefault("completion", crash.SWEEP_SOON)
            config = crash.configure(tmp_path, exported, **sections)
            return Bench(tmp_path, config, exported, texts, stack.close)

        yield make


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()
