"""Kill a run again and again with SIGKILL, let it finish, and check every line of its results.

    python -m tests.faults.crash --records 20000 --kills 5

Starts the emulator in a process of its own and the real ``dispatcher run`` in others. The seed is
printed; it decides the records and the moments of the kills.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUN_SECONDS = 300


@contextmanager
def emulator(folder: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """Run ``dispatcher emulate`` and yield the environment that it prints, and its queue."""
    command = [
        sys.executable,
        "-m",
        "dispatcher",
        "emulate",
        "--port",
        "0",
        "--endpoint",
        "emulated",
    ]
    command += arguments
    with (folder / "emulator.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        told: dict[str, str] = {}
        while "OUTPUT_BUCKET" not in told:  # the last line
            match = re.match(r"export (\w+)=(\S+)", process.stdout.readline())
            assert match, "the emulator did not start"
            told[match[1]] = match[2]
        yield told
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def write_records(path: Path, count: int, size: int, dice: random.Random) -> dict[str, str]:
    texts = {f"r{number:07d}": dice.randbytes(size // 2).hex() for number in range(count)}
    with path.open("w") as file:
        for key, text in texts.items():
            file.write(json.dumps({"id": key, "text": text}) + "\n")
    return texts


def configure(folder: Path, told: dict[str, str]) -> Path:
    config = {
        "endpoint": "emulated",
        "source": {"path": str(folder / "in.jsonl"), "key": "id"},
        "staging": {"bucket": "emulator-input"},
        "completion": {"queue_url": told["QUEUE_URL"], "sweep_after": "3s"},
        "ledger": {"path": str(folder / "state" / "ledger.db")},
        "sink": {"path": str(folder / "results.jsonl")},
        "dead_letters": {"path": str(folder / "dead.jsonl")},
    }
    path = folder / "run.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


def check(folder: Path, texts: dict[str, str]) -> list[str]:
    """Return what is wrong with the results: every record once, with its own output."""
    wrong = []
    seen: Counter[str] = Counter()
    for line in (folder / "results.jsonl").read_text().splitlines():
        result = json.loads(line)
        key = result["key"]
        seen[key] += 1
        if result["output"] != {"id": key, "text": texts.get(key)}:
            wrong.append(f"{key} has another record's output")
    wrong += [f"{key} has {count} lines" for key, count in seen.items() if count > 1]
    wrong += [f"{key} has no line" for key in texts if key not in seen]
    if dead := (folder / "dead.jsonl").read_text():
        wrong.append(f"dead letters: {dead[:500]}")
    return wrong


def lines_of(folder: Path) -> int:
    results = folder / "results.jsonl"
    return results.read_bytes().count(b"\n") if results.exists() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = write_records(folder / "in.jsonl", options.records, options.size, dice)
        with emulator(folder, "--service-time", "50ms", "--instances", "256") as told:
            config = configure(folder, told)
            command = [sys.executable, "-m", "dispatcher", "run", str(config)]
            environment = {**os.environ, **told}
            for kill in range(options.kills):
                run = subprocess.Popen(
                    [*command, "--progress", "none"], env=environment, stderr=subprocess.DEVNULL
                )
                # Every third one while it starts, the others somewhere on the way.
                share = dice.uniform(0, 1) / (options.kills - kill)
                so_far = lines_of(folder)
                wanted = 0 if kill % 3 == 2 else so_far + int(share * (options.records - so_far))
                while lines_of(folder) < wanted and run.poll() is None:
                    time.sleep(0.01)
                time.sleep(dice.uniform(0, 1.0))
                run.kill()
                if run.wait() != -signal.SIGKILL:
                    print(f"exit code {run.returncode} before kill {kill + 1}: use more records?")
                    return 1
                print(f"kill {kill + 1}: {lines_of(folder)} lines", flush=True)
            done = subprocess.run(
                [*command, "--progress", "plain"],
                env=environment, stderr=subprocess.PIPE, text=True, timeout=RUN_SECONDS,
                check=False,
            )  # fmt: skip
            print(done.stderr)
            wrong = check(folder, texts)
    print(f"exit code {done.returncode}, {options.kills} kills, {len(wrong)} wrong lines")
    for line in wrong[:10]:
        print(line)
    return 1 if wrong or done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
