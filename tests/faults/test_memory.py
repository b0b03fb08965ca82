"""Memory does not follow the input, bounded: ``python -m tests.faults.memory`` is the long one."""

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "options",
    [
        ["--megabytes", "150"],
        ["--megabytes", "400", "--unreadable"],
        ["--megabytes", "300", "--one"],
    ],
    ids=["records", "dead-letters", "one-record"],
)
def test_memory_is_bounded_and_flat(options: list[str]) -> None:
    watched = subprocess.run(
        [sys.executable, "-m", "tests.faults.memory", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert watched.returncode == 0, watched.stdout
