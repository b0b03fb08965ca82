"""Plain boto3 in an environment of its own, against an emulator."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dispatcher.config.faults import FaultSettings
from dispatcher.config.settings import EmulatorSettings, ServiceTime
from dispatcher.emulator.clock import WallClock
from dispatcher.emulator.server import Emulator

_REPOSITORY = Path(__file__).parents[2]
_DRIVE = Path(__file__).with_name("boto3_drive.py")


class FastClock(WallClock):
    """A clock that is an hour ahead."""

    def now(self) -> float:
        return time.time() + 3600


@pytest.fixture(scope="session")
def boto3_python() -> Path:
    """The Python of an environment with current boto3, which .venv's aioboto3 rules out."""
    chosen = _REPOSITORY / os.environ.get("BOTO3_PYTHON", ".venv-boto3/bin/python")
    if not chosen.exists():
        folder = _REPOSITORY / ".venv-boto3"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        chosen = folder / "bin" / "python"
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "boto3"]
        subprocess.run([str(chosen), *pip], check=True)
    return chosen


@pytest.fixture(scope="session")
def found(boto3_python: Path) -> dict[str, Any]:
    """Findings of plain boto3 that drove a verifying emulator; one run for all tests."""

    async def drive() -> bytes:
        settings = EmulatorSettings(service_time=ServiceTime(median=0.0))
        verifying = settings.model_copy(update={"verify_signatures": True})
        throttling = settings.model_copy(update={"faults": FaultSettings(throttle=1.0)})
        async with (
            Emulator(verifying) as emulator,
            Emulator(throttling) as throttler,
            Emulator(verifying, clock=FastClock()) as ahead,
        ):
            process = await asyncio.create_subprocess_exec(
                boto3_python,
                _DRIVE,
                emulator.url,
                throttler.url,
                ahead.url,
                stdout=asyncio.subprocess.PIPE,
                env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
            )
            out, _ = await process.communicate()
            assert process.returncode == 0
            return out

    findings: dict[str, Any] = json.loads(asyncio.run(drive()))
    return findings
