"""The crash harness, bounded: ``python -m tests.faults.crash --runs 200 --faults`` is long."""

import re
import subprocess
import sys

import pytest

KILLS = 8


@pytest.mark.slow
@pytest.mark.timeout(180)  # some twenty seconds on a quiet machine
def test_killed_again_and_again_while_every_fault_strikes() -> None:
    options = ["--runs", str(KILLS), "--kills", "4", "--records", "100", "--faults"]
    harness = subprocess.run(
        [sys.executable, "-m", "tests.faults.crash", *options],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert harness.returncode == 0, harness.stdout
    ending = re.search(r"^(\d+) kills, 0 wrong lines, 0 failed runs$", harness.stdout, re.MULTILINE)
    assert ending, harness.stdout
    assert int(ending[1]) >= KILLS
