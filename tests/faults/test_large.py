"""A large record is never in memory, bounded: ``python -m tests.faults.large`` is the long one."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "options",
    [
        ["--megabytes", "100", "--source", "jsonl", "--join", "both"],
        ["--megabytes", "30", "--source", "files", "--join", "input", "--kill"],
        ["--megabytes", "20", "--source", "stdin", "--encoding", "json+zstd"],
    ],
    ids=lambda options: options[3],
)
def test_a_large_record_is_delivered_and_never_held(options: list[str]) -> None:
    # What the process takes anyway, and less than the largest of these records more.
    watched = subprocess.run(
        [sys.executable, "-m", "tests.faults.large", *options, "--most", "250"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert watched.returncode == 0, watched.stdout
