"""From a queue under faults and kills, bounded: ``python -m tests.faults.queue`` is longer."""

import subprocess
import sys

import pytest

MESSAGES, KILLS = 200, 1


@pytest.mark.slow
@pytest.mark.parametrize("to", [[], ["--to-file"]], ids=["to-queue", "to-file"])
def test_killed_on_its_way_every_message_has_its_result(to: list[str]) -> None:
    options = ["--messages", str(MESSAGES), "--kills", str(KILLS), "--seed", "4711", "--no-expiry"]
    harness = subprocess.run(
        [sys.executable, "-m", "tests.faults.queue", *options, *to],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert harness.returncode == 0, harness.stdout
    assert f"{KILLS} kills" in harness.stdout
    assert " 0 wrong" in harness.stdout
