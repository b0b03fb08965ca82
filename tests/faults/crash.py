"""Kill a run again and again with SIGKILL, let it finish, and check every line of its results.

    python -m tests.faults.crash --records 20000 --kills 5

Starts the emulator in a process of its own and the real ``dispatcher run`` in others. The seed is
printed; it decides the records and the moments of the kills.

Every kill hits: the k-th of n comes before k shares of n + 1 of the results are written, each share
takes the emulator seconds, and no more than half a share is outstanding, so what the emulator does
while no run lives never brings the end near.
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
from typing import Any

RUN_SECONDS = 300
SHARE_SECONDS = 1.2
SERVICE_SECONDS = 0.05
LOOK_SECONDS = 0.01
# What a killed run had received of the queue is invisible for half a minute.
SWEEP_SOON = {"sweep_after": "1s"}


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


def configure(folder: Path, told: dict[str, str], **sections: dict[str, Any]) -> Path:
    """Write ``run.yaml`` for the emulator that told this; sections add to what every run needs."""
    config: dict[str, Any] = {
        "endpoint": "emulated",
        "source": {"path": str(folder / "in.jsonl"), "key": "id"},
        "staging": {"bucket": "emulator-input"},
        "completion": {"queue_url": told["QUEUE_URL"], "sweep_after": "3s"},
        "ledger": {"path": str(folder / "state" / "ledger.db")},
        "sink": {"path": str(folder / "results.jsonl")},
        "dead_letters": {"path": str(folder / "dead.jsonl")},
    }
    for name, values in sections.items():
        config[name] = config.get(name, {}) | values
    path = folder / "run.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


def check(folder: Path, texts: dict[str, str]) -> list[str]:
    """Return what is wrong with the results, or that there are dead letters."""
    wrong = wrong_results(folder, texts)
    if dead := (folder / "dead.jsonl").read_text():
        wrong.append(f"dead letters: {dead[:500]}")
    return wrong


def wrong_results(folder: Path, texts: dict[str, str]) -> list[str]:
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
    return wrong


def lines_of(folder: Path, name: str = "results") -> int:
    results = folder / f"{name}.jsonl"
    return results.read_bytes().count(b"\n") if results.exists() else 0


def moments(records: int, kills: int, dice: random.Random) -> Iterator[tuple[int, float]]:
    """Yield for each kill how many results there are at least, and how many seconds after that.

    Every third one hits a run while it starts, the others somewhere on the way.
    """
    for kill in range(kills):
        if kill % 3 == 2:
            yield 0, dice.uniform(0, 1.0)
        else:
            yield int(records * dice.uniform(kill, kill + 1) / (kills + 1)), dice.uniform(0, 0.1)


def kill_run(
    command: list[str], folder: Path, environment: dict[str, str], when: int, after: float
) -> int:
    """Start a run, kill it at its moment, and return its exit code."""
    run = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while lines_of(folder) < when and run.poll() is None:
        time.sleep(LOOK_SECONDS)
    time.sleep(after)
    run.kill()
    return run.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    dice = random.Random(options.seed)
    share = options.records / (options.kills + 1)
    instances = max(1, int(share / SHARE_SECONDS * SERVICE_SECONDS))
    outstanding = max(1, int(share / 2))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = write_records(folder / "in.jsonl", options.records, options.size, dice)
        slow = ("--service-time", f"{SERVICE_SECONDS}s", "--instances", str(instances))
        with emulator(folder, *slow) as told:
            config = configure(
                folder, told, limits={"outstanding": outstanding}, completion=SWEEP_SOON
            )
            command = [sys.executable, "-m", "dispatcher", "run", str(config)]
            environment = {**os.environ, **told}
            for kill, (when, after) in enumerate(moments(options.records, options.kills, dice), 1):
                code = kill_run([*command, "--progress", "none"], folder, environment, when, after)
                print(f"kill {kill}: {lines_of(folder)} lines", flush=True)
                if code != -signal.SIGKILL:
                    print(f"exit code {code} before kill {kill}")
                    return 1
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
