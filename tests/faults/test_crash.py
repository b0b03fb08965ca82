"""The crash harness, bounded: ``python -m tests.faults.crash`` is the long one."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(180)
def test_killed_again_and_again() -> None:
    harness = subprocess.run(
        [sys.executable, "-m", "tests.faults.crash", "--records", "2500", "--kills", "4"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert harness.returncode == 0, harness.stdout
