import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatcher.config.settings import EmulatorSettings, ServiceTime
from dispatcher.emulator.server import Emulator

_REPOSITORY = Path(__file__).parents[2]
_DRIVE = Path(__file__).with_name("boto3_drive.py")


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
    """What plain boto3 found when it drove the emulator; one run for all tests."""

    async def drive() -> bytes:
        settings = EmulatorSettings(service_time=ServiceTime(median=0.0))
        throttling = settings.model_copy(update={"throttle": 1.0})
        async with Emulator(settings) as emulator, Emulator(throttling) as throttler:
            process = await asyncio.create_subprocess_exec(
                boto3_python,
                _DRIVE,
                emulator.url,
                throttler.url,
                stdout=asyncio.subprocess.PIPE,
                env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
            )
            out, _ = await process.communicate()
            assert process.returncode == 0
            return out

    findings: dict[str, Any] = json.loads(asyncio.run(drive()))
    return findings
