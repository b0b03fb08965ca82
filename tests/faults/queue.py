"""Kill a run from queue to queue again and again, let it finish, and check every message.

    python -m tests.faults.queue --messages 20000 --kills 10 [--to-file]

The emulator lives here and plays faults of every kind; the real ``dispatcher run`` is killed with
SIGKILL in processes of its own. The queues are watched from within: whenever a message leaves the
source, its result must be there, in a file exactly once. The seed is printed; it decides the
messages, the faults and the moments of the kills.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.server import Emulator
from dispatcher.emulator.sqs.queue import MessageQueue, StoredMessage

RUN_SECONDS = 600
VISIBILITY_SECONDS = 3
SERVICE_SECONDS = 0.05
SHARE_SECONDS = 1.2
LOOK_SECONDS = 0.01

FAULTS = {
    "throttle": 0.05,
    "server_error": 0.02,
    "slow_accept": 0.01,
    "reset_before": 0.02,
    "reset_after": 0.02,
    "expired_credentials": 0.01,
    "s3_error": 0.02,
    "s3_reset": 0.02,
    "sqs_error": 0.02,
    "sqs_reset": 0.02,
    "sqs_failed_entry": 0.02,
    "sqs_redelivery": 0.02,
    "failure": 0.02,
    "failure_only": 0.01,
    "expiry": 0.01,
    "lost_event": 0.02,
    "duplicate_event": 0.05,
    "duplicate_event_copies": 5,
    "late_event": 0.05,
    "late_event_delay": "2s",
    "reordered_event": 0.05,
    "foreign_event": 0.02,
    "malformed_event": 0.02,
}

STUBBORN = {"attempts": 100, "backoff": "100ms"}
"""A chance failure succeeds at last, so every message has a result to look for."""


@dataclass
class Watch:
    """The messages that came and went, and the mistakes among them.

    Attributes:
        texts: The text of each message by its key.
        file: Where results go, if that is a file; else they come to a queue.
        answered: How many results came for each key.
        wrong: What went wrong, as sentences.
    """

    texts: dict[str, str]
    file: Path | None
    answered: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _seen: int = 0

    def look(self) -> int:
        """Count what is answered; a file is looked at as far as it is new."""
        if self.file is not None and self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._seen)
                *lines, _unfinished = file.read().split(b"\n")
            for line in lines:
                self._seen += len(line) + 1
                self.came(line.decode())
        return len(self.answered)

    def came(self, body: str) -> None:
        result = json.loads(body)
        key = result["key"]
        self.answered[key] += 1
        if result.get("output") != {"id": key, "text": self.texts.get(key)}:
            self.wrong.append(f"{key} has another outcome: {body[:500]}")

    def went(self, body: str) -> None:
        key = json.loads(body)["id"]
        if key not in self.answered:
            # A run that starts cuts the file back, so that it may differ from what was seen of it.
            self._seen = 0
            self.look()
        if key not in self.answered:
            self.wrong.append(f"{key} was deleted before its result was sent")


class Results(MessageQueue):
    """A queue that says what comes."""

    watch: Watch

    def send(self, body: str, **more: Any) -> StoredMessage:
        self.watch.came(body)
        return super().send(body, **more)


class Source(MessageQueue):
    """A queue that says what goes."""

    watch: Watch

    def _remove(self, message: StoredMessage) -> None:
        self.watch.went(message.body)
        super()._remove(message)


@dataclass
class Harness:
    """One folder, one emulator, and the runs that are killed.

    Attributes:
        folder: Where the configuration and the ledger are.
        emulator: It plays the faults.
        watch: Both queues.
        source: The queue that the run empties.
    """

    folder: Path
    emulator: Emulator
    watch: Watch
    source: Source

    @classmethod
    def on(
        cls, folder: Path, emulator: Emulator, texts: dict[str, str], *, to_file: bool
    ) -> "Harness":
        """Make the queues, and fill the first."""
        watch = Watch(texts, folder / "results.jsonl" if to_file else None)
        queues = emulator._queues
        results, source = Results(), Source()
        results.watch = source.watch = watch
        queues.create("results").messages = queues.create("dead").messages = results
        mailbox = queues.create("source")
        mailbox.messages = source
        mailbox.attributes["VisibilityTimeout"] = str(VISIBILITY_SECONDS)
        source.visibility = VISIBILITY_SECONDS
        for key, text in texts.items():
            mailbox.send(json.dumps({"id": key, "text": text}))
        return cls(folder, emulator, watch, source)

    def configure(self, outstanding: int) -> Path:
        """Write ``run.yaml``."""
        url = f"{self.emulator.url}/000000000000"
        again = dict.fromkeys(("model_error", "model_server_error", "expired"), STUBBORN)
        config = {
            "endpoint": "emulated",
            "source": {
                "type": "sqs",
                "queue_url": f"{url}/source",
                "key": "id",
                "until_empty": "1s",
                "receivers": 4,
            },
            # An expired request whose event is lost is given up after that, and invoked again.
            "request": {"ttl": "60s", "timeout": "5s"},
            "completion": {
                "queue_url": self.emulator.queue_url,
                "sweep_after": "1s",
                "slack": "0s",
            },
            "limits": {"outstanding": outstanding},
            "retry": {"base": "20ms", "outcomes": again},
            "ledger": {"path": str(self.folder / "ledger.db")},
            "sink": {"path": str(self.watch.file)}
            if self.watch.file is not None
            else {"type": "sqs", "queue_url": f"{url}/results"},
            "dead_letters": {"type": "sqs", "queue_url": f"{url}/dead"},
        }
        path = self.folder / "run.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        return path

    def start(self, config: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dispatcher", "run", str(config), "--progress", "none"],
            env={**os.environ, **self.emulator.environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    async def kill(self, config: Path, answered: int, after: float) -> int:
        """Start a run, kill it at its moment, and return its exit code."""
        process = self.start(config)
        while self.watch.look() < answered and process.poll() is None:  # noqa: ASYNC110 - another process
            await anyio.sleep(LOOK_SECONDS)
        await anyio.sleep(after)
        process.kill()
        await anyio.to_thread.run_sync(process.communicate)
        return process.returncode

    async def finish(self, config: Path) -> tuple[int, str]:
        """Run to the end; return the exit code and what was said."""
        process = self.start(config)
        with anyio.fail_after(RUN_SECONDS):
            _, said = await anyio.to_thread.run_sync(process.communicate)
        return process.returncode, said

    def wrong(self) -> list[str]:
        """Return what is wrong at the end."""
        if self.watch.file is not None:
            # What a killed run wrote and did not settle was cut off again: only the end counts.
            self.watch.answered.clear()
            self.watch._seen = 0
        self.watch.look()
        if self.watch.file is not None:
            twice = [key for key, count in self.watch.answered.items() if count > 1]
            self.watch.wrong += [f"{key} has more than one line" for key in twice]
        missing = [key for key in self.watch.texts if key not in self.watch.answered]
        wrong = [*self.watch.wrong, *(f"{key} has no result" for key in missing)]
        left = self.source.counts(self.emulator._clock.now())
        if any(left):
            wrong.append(f"the source has {left} messages left: visible, in flight, delayed")
        return wrong


def moments(messages: int, kills: int, rng: random.Random) -> Iterator[tuple[int, float]]:
    """Yield for each kill how many answers there are at least, and how many seconds after that.

    Every third one hits a run while it starts, the others somewhere on the way.
    """
    for kill in range(kills):
        if kill % 3 == 2:
            yield 0, rng.uniform(0, 3.0)
        else:
            yield int(messages * rng.uniform(kill, kill + 1) / (kills + 1)), rng.uniform(0, 0.1)


async def run(options: argparse.Namespace) -> int:
    rng = random.Random(options.seed)
    texts = {
        f"r{number:07d}": rng.randbytes(options.size // 2).hex()
        for number in range(options.messages)
    }
    share = options.messages // (options.kills + 1)
    settings = EmulatorSettings.model_validate(
        {
            "service_time": f"{SERVICE_SECONDS}s",
            "instances": max(4, int(share / SHARE_SECONDS * SERVICE_SECONDS)),
            "seed": options.seed,
            "faults": {**FAULTS, "expiry": 0.0 if options.no_expiry else FAULTS["expiry"]},
        }
    )
    with tempfile.TemporaryDirectory() as name:
        async with Emulator(settings, endpoints=["emulated"]) as emulator:
            harness = Harness.on(Path(name), emulator, texts, to_file=options.to_file)
            config = harness.configure(max(10, share // 2))
            hits = moments(options.messages, options.kills, rng)
            for kill, (when, after) in enumerate(hits, 1):
                code = await harness.kill(config, when, after)
                print(f"kill {kill}: {len(harness.watch.answered)} answered", flush=True)
                if code != -signal.SIGKILL:
                    print(f"exit code {code} before kill {kill}")
                    return 1
            code, said = await harness.finish(config)
            print(said)
            wrong = harness.wrong()
            twice = harness.watch.answered.total() - len(harness.watch.answered)
            struck = emulator.faults.struck.total()
            print(
                f"exit code {code}, {options.kills} kills, {struck} faults, "
                f"{emulator.endpoint('emulated').accepted} invocations, {twice} results again, "
                f"{len(wrong)} wrong"
            )
    for line in wrong[:10]:
        print(line)
    return 1 if wrong or code else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--to-file", action="store_true", help="results go to a file: once each")
    parser.add_argument(
        "--no-expiry", action="store_true", help="lost, its event would take a minute to be missed"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    return anyio.run(run, options)


if __name__ == "__main__":
    sys.exit(main())
