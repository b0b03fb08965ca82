"""Real processes: an emulator, a run's configuration and records, and what its results hold."""

import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
        exported: dict[str, str] = {}
        while "OUTPUT_BUCKET" not in exported:  # the last line
            match = re.match(r"export (\w+)=(\S+)", process.stdout.readline())
            assert match, "the emulator did not start"
            exported[match[1]] = match[2]
        yield exported
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def write_records(
    path: Path,
    count: int,
    size: int,
    rng: random.Random,
    *,
    large: int = 0,
    large_share: float = 0.0,
) -> dict[str, str]:
    """Write records of ``size`` bytes, and a share of ``large`` ones; return their texts by key."""
    sizes = [large if rng.random() < large_share else size for _ in range(count)]
    texts = {f"r{number:07d}": rng.randbytes(n // 2).hex() for number, n in enumerate(sizes)}
    with path.open("w") as file:
        for key, text in texts.items():
            file.write(json.dumps({"id": key, "text": text}) + "\n")
    return texts


def configure(folder: Path, exported: dict[str, str], **sections: dict[str, Any]) -> Path:
    """Write ``run.yaml`` for the emulator of this environment; sections add to its defaults."""
    config: dict[str, Any] = {
        "endpoint": "emulated",
        "source": {"path": str(folder / "in.jsonl"), "key": "id"},
        "staging": {"bucket": "emulator-input"},
        "completion": {"queue_url": exported["QUEUE_URL"], "sweep_after": "3s"},
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


def wrong_results(
    folder: Path, texts: dict[str, str], joined: Sequence[str] = ("output",)
) -> list[str]:
    """Return what is wrong with the results: every record once, with its own output.

    Args:
        folder: Holds the results.
        texts: By key.
        joined: Names of the parts of a line that hold the record.
    """
    lines = (folder / "results.jsonl").read_bytes().splitlines()
    there = {json.loads(line)["key"] for line in lines}
    wrong = wrong_lines(lines, texts, joined)
    return wrong + [f"{key} has no line" for key in texts if key not in there]


def wrong_lines(lines: Sequence[bytes], texts: dict[str, str], joined: Sequence[str]) -> list[str]:
    """Return what is wrong with lines of results that need not be all."""
    wrong = []
    seen: Counter[str] = Counter()
    for line in lines:
        result = json.loads(line)
        key = result["key"]
        seen[key] += 1
        record = {"id": key, "text": texts.get(key)}
        wrong += [f"{key} has another record's {part}" for part in joined if result[part] != record]
    return wrong + [f"{key} has {count} lines" for key, count in seen.items() if count > 1]


def lines_of(folder: Path, name: str = "results") -> int:
    results = folder / f"{name}.jsonl"
    return results.read_bytes().count(b"\n") if results.exists() else 0
