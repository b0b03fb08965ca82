"""The scenario of a seed: records, configuration, faults, and every interruption."""

import ast
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import dispatcher
from dispatcher.config.faults import Fault

LARGE_BYTES = 140_000
LARGE_SHARE = 0.03

INSTANCES = 4
SHARE_SECONDS = 0.6
"""Seconds for which the emulator works on the records between two interruptions."""

TOO_SLOW = {"silent_expiry"}
"""Nothing shows it but the deadline, which is more than a minute away."""

DELAYS = {
    "slow_accept_delay": "300ms",
    "late_event_delay": "1500ms",
    "reordered_event_window": "500ms",
}
AGAIN = {"attempts": 12, "backoff": "50ms"}
OUTCOMES = (
    "model_error",
    "model_server_error",
    "expired",
    "count_mismatch",
    "bad_answer",
    "output_missing",
)


def moments() -> list[str]:
    """Return the names of all moments to die at, as they stand in the code of the product."""
    found: set[str] = set()
    for path in Path(dispatcher.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Attribute(ast.Name("failpoints"), "reach"), [ast.Constant(name)]):
                    found.add(str(name))
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Interruption:
    """The end of one process of the run.

    Attributes:
        kind: ``kill``; ``stop``: SIGTERM, after which it may drain; ``stop-kill``: both.
        lines: At the earliest when there are so many result lines.
        after: So many seconds later.
        failpoint: Killed sooner if it gets there: the name of a moment and which of its visits.
        pause: Seconds until the next process is started.
    """

    kind: str
    lines: int
    after: float
    failpoint: str | None = None
    pause: float = 0.0

    @property
    def kills(self) -> bool:
        return self.kind != "stop"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run with all that happens to it.

    Attributes:
        large_share: Of the records: too large for inline, so that they are staged.
        sections: Of the configuration.
        emulator: Settings of the emulator.
        without_queue: No events are listened to.
        from_queue: Records come as messages of a queue.
        interruptions: In their order; after the last the run may finish.
    """

    seed: int
    records: int
    large_share: float
    sections: dict[str, dict[str, Any]]
    emulator: dict[str, Any]
    without_queue: bool
    from_queue: bool
    interruptions: tuple[Interruption, ...]

    @property
    def joined(self) -> tuple[str, ...]:
        """The parts of a result line that hold the record."""
        join = self.sections["sink"]["join"]
        return ("output", "input") if join == "both" else (join,)


def scenario(seed: int, *, records: int, kills: int, faults: bool) -> Scenario:
    """Return what a seed means; equal arguments mean the same."""
    rng = random.Random(seed)
    packed = rng.choice((1, 1, 4))
    interruptions = tuple(_interruptions(records, kills, rng))
    share = records / packed / (len(interruptions) + 1)
    without_queue = rng.random() < 0.1
    return Scenario(
        seed,
        records,
        LARGE_SHARE,
        _sections(packed, share, rng),
        {
            "seed": seed,
            "instances": INSTANCES,
            "service_time": INSTANCES * SHARE_SECONDS / share,
            "response_in_event": rng.random() < 0.5,
            "raw_delivery": rng.random() < 0.7,
            "faults": _shares(rng, without_queue=without_queue) if faults else {},
        },
        without_queue,
        rng.random() < 0.25,
        interruptions,
    )


def _sections(packed: int, share: float, rng: random.Random) -> dict[str, dict[str, Any]]:
    framing = rng.choice(("lines", "json-array")) if packed > 1 else "none"
    return {
        "aws": {"transport": "aioboto3" if rng.random() < 0.1 else "direct"},
        "request": {"output_naming": "service" if rng.random() < 0.2 else "chosen"},
        "packing": {"framing": framing, "max_records": packed, "linger": "20ms"},
        "limits": {
            "concurrency": rng.choice((2, 8, 32)),
            # The emulator alone must not come near the end while no process lives.
            "outstanding": max(2, int(share / 2)),
            "drain": rng.choice(("200ms", "1s")),
        },
        "retry": {
            "attempts": 30,
            "base": "20ms",
            "cap": "300ms",
            "outcomes": dict.fromkeys(OUTCOMES, AGAIN),
        },
        "completion": {
            "sweep_after": rng.choice(("300ms", "700ms", "1500ms")),
            "foreign": rng.choice(("leave", "delete")),
        },
        "ledger": {"durability": rng.choice(("full", "full", "relaxed"))},
        "sink": {"join": rng.choice(("output", "both", "input")), "meta": rng.random() < 0.3},
    }


def _shares(rng: random.Random, *, without_queue: bool) -> dict[str, Any]:
    """Return a share of 1 to 5 % for each fault."""
    # An expiry whose event is lost, or that nothing listens to, is a silent one.
    left_out = {*TOO_SLOW, rng.choice(("expiry", "lost_event"))}
    if without_queue:
        left_out.add("expiry")
    kinds = [fault for fault in get_args(Fault) if fault not in left_out]
    return {fault: round(rng.uniform(0.01, 0.05), 4) for fault in kinds} | DELAYS


def _interruptions(records: int, kills: int, rng: random.Random) -> list[Interruption]:
    """Return that many kills in random order, and some stops by SIGTERM among them."""
    kinds = ["kill", "failpoint", "start", "failpoint", "stop-kill"]
    chosen = [kinds[number % len(kinds)] for number in range(kills)]
    chosen += ["stop"] * (kills // 4)
    rng.shuffle(chosen)
    interruptions = []
    for number, kind in enumerate(chosen):
        pause = rng.choice((0.0, 0.0, 0.5))
        lines = int(records * rng.uniform(number, number + 1) / (len(chosen) + 1))
        match kind:
            case "start":
                interruptions.append(Interruption("kill", 0, rng.uniform(0.0, 1.0), None, pause))
            case "failpoint":
                visit = rng.choice((1, 1, 2, 3, 5, 8, 13))
                moment = f"{rng.choice(moments())}:{visit}"
                # Where it is not reached so often, the kill comes all the same.
                lines = int(records * (number + 1) / (len(chosen) + 1))
                interruptions.append(Interruption("kill", lines, 0.0, moment, pause))
            case _:
                interruptions.append(Interruption(kind, lines, rng.uniform(0.0, 0.1), None, pause))
    return interruptions
