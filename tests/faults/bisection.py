"""Split failed packed invocations while the run is killed, and check every record.

    python -m tests.faults.bisection --records 100000 --poison 0.001 --kills 6

Some records make the container fail: it refuses them, breaks, leaves their output out, or garbles
its answer. All others must complete, these must be dead for their own reason, and finding them must
not cost more than 2 log2(n) invocations each, where n are the records of a request. The emulator,
in the process of the harness, knows what was really invoked.

Every other kill comes right after a failed invocation was replaced by its parts, the others at any
moment. The seed is printed; it decides the records and the moments.
"""

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from dispatcher.cli.main import program
from dispatcher.failpoints import VARIABLE
from dispatcher.ledger.check.ledger_snapshot import COLUMNS
from dispatcher.ledger.check.read import read_snapshot
from tests.faults import real
from tests.faults.cloud import Cloud
from tests.faults.containers import POISONS

PROCESS_SECONDS = 120
RUN_SECONDS = 600
LOOK_SECONDS = 0.02
FIRST_ATTEMPT = COLUMNS.split(", ").index("first_attempt")

UNTOLD = {"refused": "model_server_error"}
"""The reason where a failure was found by a look into S3, and no event said whose fault it was:
what a killed process had received of the queue comes again too late."""

ONCE = {"attempts": 1}
SECTIONS: dict[str, dict[str, Any]] = {
    # What fails once fails again here: more tries would only be more of the same.
    "retry": {"base": "20ms", "outcomes": {"model_server_error": ONCE}},
    "completion": real.SWEEP_SOON,
}


@dataclass(slots=True)
class Trial:
    """One run on a folder of its own.

    Attributes:
        folder: Holds its files.
        cloud: Knows what was invoked.
        texts: Of the good records, by key.
        poisons: What the bad records do, by key.
        packed: Most records of a request.
        wrong: What is wrong, each a sentence.
        counts: Kills, and those in the middle of a bisection.
    """

    folder: Path
    cloud: Cloud
    texts: dict[str, str]
    poisons: dict[str, str]
    packed: int
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def configure(self, encoding: str, outstanding: int) -> Path:
        """Write ``run.yaml``."""
        packing = {"framing": "lines", "encodings": [encoding], "max_records": self.packed}
        packing["linger"] = "1h"  # how fast the file is read must not show in the requests
        sections = {**SECTIONS, "packing": packing, "limits": {"outstanding": outstanding}}
        return real.configure(self.folder, self.cloud.environment, **sections)

    def start(self, config: Path, failpoint: str | None = None) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self.cloud.environment}
        if failpoint is not None:
            environment[VARIABLE] = failpoint
        self.cloud.term += 1
        with (self.folder / "process.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dispatcher", "run", str(config), "--progress", "json"],
                env=environment,
                stderr=log,
            )

    def kill(self, config: Path, size: int, failpoint: str | None) -> bool:
        """Kill a run when its results have a size, or at a moment; False if it was quicker."""
        process = self.start(config, failpoint)
        results, until = self.folder / "results.jsonl", time.monotonic() + PROCESS_SECONDS
        while process.poll() is None and time.monotonic() < until:
            if failpoint is None and results.exists() and results.stat().st_size >= size:
                break
            time.sleep(LOOK_SECONDS)
        process.kill()
        process.wait()
        if process.returncode != -signal.SIGKILL:
            if process.returncode != 2 * bool(self.poisons):
                self.fail(process.returncode)
            return False
        self.counts["kills"] += 1
        held = read_snapshot(self.folder / "state" / "ledger.db")
        parts = sum(row[FIRST_ATTEMPT] != 1 for row in held.invocations)
        self.counts["in the middle"] += parts > 0
        self.look(config)
        return True

    def finish(self, config: Path) -> None:
        """Let the run come to its end, and judge all that it left."""
        code = self.start(config).wait(RUN_SECONDS)
        if code != 2 * bool(self.poisons):
            self.fail(code)
            return
        self.look(config)
        self.wrong += real.wrong_results(self.folder, self.texts)
        self.judge_dead()

    def fail(self, code: int) -> None:
        said = (self.folder / "process.log").read_text()
        self.wrong.append(f"it ended with {code}: {said[-1000:]}")

    def look(self, config: Path) -> None:
        """See that the ledger is sound, and that no record has another's output."""
        checked = CliRunner().invoke(program, ["ledger", "check", str(config)])
        if checked.exit_code:
            self.wrong.append(f"the ledger is unsound: {checked.output[:1000]}")

    def judge_dead(self) -> None:
        """See that just the bad records are dead: each once, for its own reason, in its words."""
        lines = [json.loads(line) for line in (self.folder / "dead.jsonl").open()]
        seen = Counter(line["key"] for line in lines)
        self.wrong += [f"{key} has {n} dead letters" for key, n in seen.items() if n > 1]
        self.wrong += [f"{key} is not dead" for key in self.poisons if key not in seen]
        for line in lines:
            key, poison = line["key"], self.poisons.get(line["key"])
            if poison is None:
                self.wrong.append(f"{key} is dead and nothing is wrong with it: {line}")
            elif line["reason"] not in (POISONS[poison], UNTOLD.get(poison)):
                self.wrong.append(f"{key} is {poison}, and dead for {line['reason']}")
            elif poison in ("refused", "broken") and f"{key} " not in line["message"]:
                self.wrong.append(f"{key} is dead in the words of another: {line['message']}")
            elif line["input"]["id"] != key:
                self.wrong.append(f"{key} has the input of {line['input']['id']}")

    def status(self, config: Path) -> dict[str, Any]:
        shown = CliRunner().invoke(program, ["status", str(config), "--json"])
        status: dict[str, Any] = json.loads(shown.stdout) if shown.exit_code == 0 else {}
        return status


def write(folder: Path, records: int, share: float, rng: random.Random) -> tuple[Any, Any]:
    """Write the input; return the texts of the good records and what the bad ones do, by key."""
    bad = set(rng.sample(range(records), round(records * share)))
    texts, poisons = {}, {}
    with (folder / "in.jsonl").open("w") as file:
        for number in range(records):
            key, text = f"r{number:07d}", rng.randbytes(30).hex()
            record = {"id": key, "text": text}
            if number in bad:
                poisons[key] = record["poison"] = rng.choice(list(POISONS))
            else:
                texts[key] = text
            file.write(json.dumps(record) + "\n")
    return texts, poisons


def run(options: argparse.Namespace) -> int:
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts, poisons = write(folder, options.records, options.poison, rng)
        cloud = Cloud(
            model="tests.faults.containers:poisoned",
            instances=options.instances,
            service_time=0.02,
            response_in_event=True,
        )
        with cloud:
            trial = Trial(folder, cloud, texts, poisons, options.packed)
            parcels = math.ceil(options.records / options.packed)
            config = trial.configure(options.encoding, max(8, parcels // (options.kills + 2)))
            began = time.monotonic()
            whole = 110 * options.records
            visits = max(1, 2 * len(poisons) // (options.kills + 1))
            for kill in range(options.kills):
                size = int(whole * rng.uniform(kill, kill + 1) / (options.kills + 1))
                moment = f"completion.split:{rng.randint(1, visits)}"
                if not trial.kill(config, size, None if kill % 2 else moment):
                    break
            trial.finish(config)
            seconds = time.monotonic() - began
            status = trial.status(config)
            return print_report(trial, status, parcels, seconds)


def print_report(trial: Trial, status: dict[str, Any], parcels: int, seconds: float) -> int:
    """Print what came of it; return 1 if something is wrong."""
    poisons, wrong, counts = len(trial.poisons), trial.wrong, trial.counts
    if not status:
        print("\n".join(["there is no status", *wrong]))
        return 1
    bound = 2 * math.log2(trial.packed)
    invoked, calls = (
        len(trial.cloud.accepted),
        sum(map(Counter.total, trial.cloud.accepted.values())),
    )
    if status["parts"] > bound * poisons:
        wrong.append(f"{status['parts']} invocations of parts are above {bound * poisons:.0f}")
    # A kill leaves gaps, which are packed again: some parcels are not full then.
    others = invoked - status["parts"]
    max_others = parcels + 4 * counts["kills"]
    if not parcels <= others <= max_others:
        wrong.append(f"{others} invocations were no parts, {parcels} to {max_others} have to be")
    print(
        f"{status['read']} records, {status['completed']} completed, {status['dead']} dead of "
        f"{poisons} bad ones: {status['dead_reasons']}"
    )
    print(
        f"{invoked} invocations in {calls} calls: {others} of full requests, {status['parts']} of "
        f"parts of {status['split']} failed ones"
    )
    if poisons:
        print(
            f"{status['parts'] / poisons:.2f} extra invocations a bad record, "
            f"2 log2({trial.packed}) = {bound:.2f}"
        )
    print(
        f"{counts['kills']} kills, {counts['in the middle']} of them in the middle of a bisection, "
        f"{seconds:.1f} s, {len(wrong)} wrong"
    )
    for sentence in wrong[:10]:
        print(f"  {sentence}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--poison", type=float, default=0.001, help="share of bad records")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--packed", type=int, default=200, help="most records of a request")
    parser.add_argument("--encoding", default="json", choices=["json", "json+gzip", "json+zstd"])
    parser.add_argument("--instances", type=int, default=16, help="of the emulated endpoint")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
