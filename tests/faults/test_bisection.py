"""The bisection harness, bounded: ``python -m tests.faults.bisection`` is long."""

import re
import subprocess
import sys

import pytest

KILLS = 3


@pytest.mark.timeout(180)  # some seven seconds on a quiet machine
def test_killed_in_the_middle_of_bisections() -> None:
    options = ["--records", "4000", "--poison", "0.003", "--kills", str(KILLS)]
    harness = subprocess.run(
        [sys.executable, "-m", "tests.faults.bisection", *options, "--encoding", "json+zstd"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert harness.returncode == 0, harness.stdout
    ending = re.search(r"^(\d) kills, (\d) of them in the middle", harness.stdout, re.MULTILINE)
    assert ending, harness.stdout
    assert int(ending[1]) >= 2
    assert int(ending[2]) >= 1
