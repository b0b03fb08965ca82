"""From queue to queue under faults and kills, bounded: ``python -m tests.faults.queue`` is long."""

import subprocess
import sys

MESSAGES, KILLS = 400, 2


def test_killed_again_and_again_every_message_has_its_result() -> None:
    options = ["--messages", str(MESSAGES), "--kills", str(KILLS), "--seed", "4711", "--no-expiry"]
    harness = subprocess.run(
        [sys.executable, "-m", "tests.faults.queue", *options],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert harness.returncode == 0, harness.stdout
    assert f"{KILLS} kills" in harness.stdout
    assert " 0 wrong" in harness.stdout
