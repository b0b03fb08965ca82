"""The programs of the whole way: their commands, and how many records they are given."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.peers.task import ENDPOINT

Portion = Literal["peer", "ours", "packed"]

INLINE, STAGED = "a: aioboto3 inline", "b: aioboto3 staged"


@dataclass(slots=True, frozen=True)
class Job:
    """One run of a contender: files, and the queue of the stub."""

    folder: Path
    records: Path
    queue: str

    @property
    def results(self) -> Path:
        """Return where the result lines go."""
        return self.folder / "results.jsonl"


@dataclass(slots=True, frozen=True)
class Peer:
    """A program as people write it, of ``benchmarks.peers``; ``hears``: of events in the queue."""

    module: str
    arguments: tuple[str, ...] = ()
    portion: Portion = "peer"
    lines_a_call: int = 1
    hears: bool = True

    def command(self, job: Job) -> list[str]:
        """Return what to run."""
        command = [sys.executable, "-m", f"benchmarks.peers.{self.module}"]
        command += ["--records", str(job.records), "--out", str(job.results)]
        return [*command, "--queue", job.queue, *self.arguments]


@dataclass(slots=True, frozen=True)
class Ours:
    """``dispatcher run`` on a ledger that survives a power loss."""

    transport: str = "direct"
    portion: Portion = "ours"
    lines_a_call: int = 1
    hears: bool = True

    def command(self, job: Job) -> list[str]:
        """Write the configuration; return what to run."""
        path = job.folder / "run.yaml"
        path.write_text(json.dumps(self._configuration(job), indent=1))  # JSON is YAML
        return [sys.executable, "-m", "dispatcher", "run", str(path), "--progress", "none"]

    def _configuration(self, job: Job) -> dict[str, object]:
        packed = self.lines_a_call > 1
        return {
            "endpoint": ENDPOINT,
            "aws": {"transport": self.transport},
            "source": {"path": str(job.records), "key": "id"},
            "packing": {
                "framing": "lines" if packed else "none",
                "max_records": self.lines_a_call,
            },
            "completion": {"queue_url": job.queue},
            "ledger": {"path": str(job.folder / "ledger.db"), "durability": "full"},
            "sink": {"path": str(job.results)},
            "dead_letters": {"path": str(job.folder / "dead.jsonl")},
        }


CONTENDERS: dict[str, Peer | Ours] = {
    INLINE: Peer("gather"),
    STAGED: Peer("gather", ("--staged",)),
    "c: boto3 threads": Peer("threads"),
    "d: upload and poll": Peer("polling", hears=False),
    "ours": Ours(),
    "ours, 100 packed": Ours(portion="packed", lines_a_call=100),
    "ours over aioboto3": Ours("aioboto3", portion="peer"),
}
SHORT_NAMES = {
    "a": INLINE,
    "b": STAGED,
    "c": "c: boto3 threads",
    "d": "d: upload and poll",
    "ours": "ours",
    "packed": "ours, 100 packed",
    "ours-aioboto3": "ours over aioboto3",
}
