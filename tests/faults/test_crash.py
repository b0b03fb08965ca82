"""The crash harness, bounded: ``python -m tests.faults.crash`` is the long one."""

import subprocess
import sys

import pytest

RECORDS, KILLS = 1_200, 3


@pytest.mark.parametrize("seed", [11, 4711])
def test_killed_again_and_again(seed: int) -> None:
    options = ["--records", str(RECORDS), "--kills", str(KILLS), "--seed", str(seed)]
    harness = subprocess.run(
        [sys.executable, "-m", "tests.faults.crash", *options],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert harness.returncode == 0, harness.stdout
    assert f"{KILLS} kills, 0 wrong lines" in harness.stdout
