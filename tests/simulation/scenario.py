"""One seed becomes one run: its input, its configuration, what goes wrong, and where it dies."""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import dispatcher
from dispatcher.config.faults import FaultSettings
from dispatcher.config.settings import Config
from tests.simulation import chance, container
from tests.simulation.history import Sink, Terms

SQS = "http://sqs/000000000000"
COMPLETIONS, SOURCE = f"{SQS}/completions", f"{SQS}/source"
QUEUES: dict[Sink, str] = {"results": f"{SQS}/results", "dead": f"{SQS}/dead"}
STAGING = "inputs"
RESULTS, DEAD, LEDGER = "results.jsonl", "dead.jsonl", "state/ledger.db"

MOMENTS = ("disk.write", "disk.synced", "disk.commit", "wire.left", "wire.answered")
"""Moments of the simulation itself, beside those that the code names."""

FRAMINGS = {
    "lines": "json",
    "json-array": "json",
    "template": "json",
    "msgpack-array": "msgpack",
}
"""Framings of several records, and how these are written then."""

_LARGE = 131_000
_MOST = 150_000


@dataclass(slots=True, frozen=True)
class Item:
    """A record of the input.

    Attributes:
        number: What it is known by in this test, from 1 on.
        raw: Its line.
        key: What its result must be named by; a message's name is not known yet, and "" here.
        place: File and line, as ``file:line``; "" for a message.
        refusal: Why it has to be refused before it is sent, or "".
        content: The number that its line bears: that of another record whose line is the same, if
            there is one.
    """

    number: int
    raw: bytes
    key: str | int
    place: str
    refusal: str = ""
    content: int = 0


@dataclass(slots=True, frozen=True)
class Death:
    """The end of a process.

    Attributes:
        how: ``moment``: at a visit of a named moment; ``visit``: of any; ``time``: after seconds;
            ``signal``: it is asked to stop after seconds; ``none``: by itself.
        name: Of the moment.
        visit: Which one, from 1 on.
        after: Seconds.
        twice: It is asked to stop a second time, a second later.
        power: The power is lost, too.
        gap: Seconds until the next process begins.
    """

    how: Literal["moment", "visit", "time", "signal", "none"]
    name: str = ""
    visit: int = 0
    after: float = 0.0
    twice: bool = False
    power: bool = False
    gap: float = 0.0


@dataclass(slots=True, frozen=True)
class Service:
    """Behaviour of the service when nothing is wrong with it.

    Attributes:
        instances: Inferences at once.
        median: Seconds of an inference.
        p99: Seconds that 99 of 100 are below.
        raw_delivery: Events come without SNS's envelope.
        response_in_event: Small responses travel in the event.
        lines: The model answers with JSON lines instead of an array.
        shows_missing: A missing object answers otherwise than one that may not be seen.
        visibility: Seconds that a received message is hidden.
        source_visibility: The same for messages of the source.
        latency: Seconds that a call takes at most.
        disk: Seconds that a write takes at most.
        flush: Seconds between the ledger's flushes.
    """

    instances: int
    median: float
    p99: float
    raw_delivery: bool
    response_in_event: bool
    lines: bool
    shows_missing: bool
    visibility: float
    source_visibility: float
    latency: float
    disk: float
    flush: float


@dataclass(slots=True, frozen=True)
class Scenario:
    """All that is chosen for a seed.

    Attributes:
        seed: The seed.
        items: The input.
        config: The configuration of the run.
        service: How the service behaves.
        levels: How likely each fault is.
        faults: The emulator's part of them.
        deaths: Where the first processes end; the last one is left alone, and nothing goes wrong.
        again: The same command once more when it is finished.
        floor: Invocations made of parts of failed ones that are always allowed.
        page: Most locations of objects to be deleted that are held in memory.
    """

    seed: int
    items: tuple[Item, ...]
    config: Config
    service: Service
    levels: dict[str, float]
    faults: FaultSettings
    deaths: tuple[Death, ...]
    again: bool
    floor: int
    page: int

    @property
    def queues(self) -> frozenset[Sink]:
        """The sinks that are queues."""
        config = self.config
        types: dict[Sink, str] = {"results": config.sink.type, "dead": config.dead_letters.type}
        return frozenset(name for name, kind in types.items() if kind == "sqs")

    @property
    def terms(self) -> Terms:
        """The terms that the checker has to know."""
        config = self.config
        request = config.request
        return Terms(
            records=frozenset(item.number for item in self.items),
            refusals={item.number: item.refusal for item in self.items if item.refusal},
            concurrency=config.limits.concurrency,
            outstanding=config.limits.outstanding,
            durable=config.ledger.durability == "full",
            deadline=request.ttl + request.timeout + config.completion.slack,
            attempts=config.retry.attempts,
            drain=config.limits.drain,
            patience=config.retry.give_up_after,
            chosen=request.output_naming == "chosen",
            listens=config.completion.queue_url is not None,
            queues=self.queues,
            bisection=config.retry.bisection,
            floor=self.floor,
            deletes=config.staging.delete == "on_settled",
            alike={i.number: i.content for i in self.items if i.content != i.number},
        )


@cache
def named_moments() -> tuple[str, ...]:
    """Return every moment that the code names."""
    root = Path(dispatcher.__file__).parent
    texts = (path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py")))
    found = {name for text in texts for name in re.findall(r'[^`]reach\("([\w.]+)"\)', text)}
    return tuple(sorted(found))


def make(seed: int) -> Scenario:
    """Return the run of a seed."""
    rng = random.Random(f"{seed} scenario")
    levels = chance.draw(rng)
    config = _config(rng, random.Random(f"{seed} staging"))
    items = _alike(random.Random(f"{seed} alike"), _items(rng, config), config)
    deaths = tuple(_death(rng, config) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4, 5))))
    service, faults = _service(rng), chance.settings(levels, rng)
    again = rng.random() < 0.2
    floor = rng.choice((0, 6, 30, 1_000, 1_000))
    page = random.Random(f"{seed} page").choice((1, 2, 5, 1_000))
    return Scenario(seed, items, config, service, levels, faults, deaths, again, floor, page)


def _config(rng: random.Random, staging: random.Random) -> Config:
    source = _source(rng)
    sections: dict[str, Any] = {
        "endpoint": "e",
        "source": source,
        "request": {
            "ttl": 60,
            "timeout": rng.choice((1, 5, 20)),
            "output_naming": "chosen" if rng.random() < 0.85 else "service",
        },
        "packing": _packing(rng, named=source["key"] is not None),
        "staging": {
            "bucket": STAGING if rng.random() < 0.8 else None,
            "delete": staging.choice((*["on_settled"] * 8, "never", "by_lifecycle")),
        },
        "limits": {
            "concurrency": rng.choice((1, 2, 4, 8, 32)),
            "outstanding": rng.choice((1, 2, 5, 10, 40, 100)),
            "payload_memory": 1_000_000,
            "drain": rng.choice((0, 1, 20)),
        },
        "retry": {
            "attempts": rng.choice((1, 2, 4, 8)),
            "base": 0.1,
            "cap": rng.choice((1, 5)),
            "give_up_after": rng.choice((15, 60, 300)),
            "outcomes": _outcomes(rng),
            "bisection": rng.choice((0, 0.1, 0.1, 2)),
        },
        "completion": {
            "queue_url": COMPLETIONS if rng.random() < 0.9 else None,
            "listeners": rng.choice((1, 2, 3)),
            "fetchers": rng.choice((1, 2, 4)),
            "sweep_after": rng.choice((1, 5, 20)),
            "sweep_budget": rng.choice((1, 50)),
            "slack": rng.choice((0, 5)),
            "foreign": rng.choice(("leave", "delete")),
        },
        "ledger": {"path": LEDGER, "durability": rng.choice(("full", "full", "full", "relaxed"))},
        "sink": {
            **_place(rng, RESULTS, QUEUES["results"]),
            "join": rng.choice(("output", "output", "input", "both")),
            "meta": rng.random() < 0.2,
        },
        "dead_letters": _place(rng, DEAD, QUEUES["dead"]),
    }
    return Config.model_validate(sections)


def _packing(rng: random.Random, *, named: bool) -> dict[str, Any]:
    """Return framing, encodings and the way back; ``named``: a record's key is in it."""
    framing = rng.choice(("none", "none", *FRAMINGS))
    form = rng.choice(("json", "msgpack")) if framing == "none" else FRAMINGS[framing]
    pressed = f"{form}+{rng.choice(('gzip', 'zstd'))}"
    answer = {"id": "id"} if named and framing != "none" and rng.random() < 0.3 else {}
    if framing == "template":
        answer["list"] = container.POINTER
    return {
        "framing": framing,
        "encodings": rng.choice(([form], [form], [pressed], [form, pressed])),
        "template": container.TEMPLATE if framing == "template" else None,
        "answer": answer,
        "max_records": 1 if framing == "none" else rng.choice((1, 2, 3, 5, 8, 30)),
        "max_bytes": rng.choice((300, 2000, 128_000, 128_000)),
        "linger": rng.choice((0, 0.05, 1)),
    }


def _source(rng: random.Random) -> dict[str, Any]:
    shared = {"key": rng.choice((None, "id")), "max_record": _MOST}
    if rng.random() < 0.65:
        return {**shared, "path": rng.choice((["a"], ["a"], ["a", "b"], ["a.gz"]))}
    return {
        **shared,
        "type": "sqs",
        "queue_url": SOURCE,
        "receivers": rng.choice((1, 2, 3)),
        "until_empty": rng.choice((1, 2, 5)),
    }


def _place(rng: random.Random, path: str, url: str) -> dict[str, Any]:
    return {"path": path} if rng.random() < 0.75 else {"type": "sqs", "queue_url": url}


def _outcomes(rng: random.Random) -> dict[str, Any]:
    """Return what is retried, and how often."""
    reasons = ("model_error", "model_server_error", "expired", "count_mismatch", "output_missing")
    return {
        reason: {"attempts": rng.choice((1, 2, 3)), "backoff": rng.choice((0, 1, 5))}
        for reason in reasons
    }


def _items(rng: random.Random, config: Config) -> tuple[Item, ...]:
    count = rng.randint(10, 80)
    # Too many of them, and none accepted yet, would stop the run, as it should.
    poisons = set(rng.sample(range(1, count + 1), 2)) if rng.random() < 0.2 else set()
    if config.limits.outstanding <= 2:
        poisons.clear()
    failing = rng.choice((0.0, 0.03, 0.1, 0.3))
    packed = config.packing.framing != "none"
    failures = (400, 500, "short", "garble") if packed else (400, 500)
    odd = rng.choice((0.0, 0.0, 0.1))
    large = rng.choice((0.0, 0.0, 0.0, 0.05))
    items: list[Item] = []
    for number in range(1, count + 1):
        place = _place_of(number, count, config.source.path)
        name: str | int = rng.choice((f"k{number}", f"k{number}", number, "shared"))
        if rng.random() < odd:
            items.append(_odd(rng, number, place, config))
            continue
        value: dict[str, Any] = {"id": name, "n": number}
        if rng.random() < failing:
            value["fail"] = rng.choice(failures)
        if number in poisons:
            value["poison"] = True
        value["pad"] = "x" * (_LARGE if rng.random() < large else rng.choice((0, 10, 200)))
        raw = json.dumps(value).encode()
        # Compressed, nothing is large here.
        is_large = len(value["pad"]) == _LARGE and not any(
            "+" in e for e in config.packing.encodings
        )
        unstaged = is_large and config.staging.bucket is None
        items.append(
            Item(
                number,
                raw,
                place if config.source.key is None else name,
                place,
                "no_staging" if unstaged else "",
            )
        )
    return tuple(items)


def _alike(rng: random.Random, items: tuple[Item, ...], config: Config) -> tuple[Item, ...]:
    """Let some records hold just what others hold, mostly so much that it is staged.

    Only where a record is known by its place: results could not be kept apart by a key.
    """
    bore = tuple(replace(item, content=item.number) for item in items)
    share = rng.choice((0.0, 0.1, 0.3, 0.6))
    plain = [i for i in bore if not i.refusal and b'"poison"' not in i.raw]
    if config.source.key is not None or not plain or not share:
        return bore
    first = rng.sample(plain, min(len(plain), rng.choice((1, 2, 4, 12))))
    is_plain = not any("+" in encoding for encoding in config.packing.encodings)
    if is_plain and config.staging.bucket is not None and rng.random() < 0.7:
        first = [replace(item, raw=_grown(item.raw)) for item in first]
    grown = {item.number: item for item in first}
    others = {item.number for item in plain}.difference(grown)
    made = []
    for item in bore:
        if item.number in others and rng.random() < share:
            like = rng.choice(first)
            made.append(replace(item, raw=like.raw, content=like.number))
        else:
            made.append(grown.get(item.number, item))
    return tuple(made)


def _grown(raw: bytes) -> bytes:
    """Return a record that is too large for inline."""
    return json.dumps({**json.loads(raw), "pad": "x" * _LARGE}).encode()


def _place_of(number: int, count: int, paths: Sequence[str]) -> str:
    """Return where a record is when all are shared out to files, the first half to the first."""
    if not paths:
        return ""
    share = -(-count // len(paths))
    return f"{paths[(number - 1) // share]}:{(number - 1) % share + 1}"


def _odd(rng: random.Random, number: int, place: str, config: Config) -> Item:
    kind = rng.choice(("bad_json", "bad_utf8", "missing_key", "bad_key", "too_large"))
    if kind == "bad_utf8" and config.source.type == "sqs":
        kind = "bad_json"  # messages are text
    if kind in ("missing_key", "bad_key") and config.source.key is None:
        kind = "bad_json"
    raw = {
        "bad_json": b'{"n": %d, "pad' % number,
        "bad_utf8": b'{"n": %d, "pad": "\xff"}' % number,
        "missing_key": b'{"n": %d}' % number,
        "bad_key": b'{"n": %d, "id": null}' % number,
        "too_large": b'{"n": %d, "id": 1, "pad": "%b"}' % (number, b"x" * _MOST),
    }[kind]
    return Item(number, raw, place, place, kind)


def _service(rng: random.Random) -> Service:
    median = rng.choice((0.0, 0.05, 1.0, 6.0))
    return Service(
        instances=rng.choice((1, 4, 50)),
        median=median,
        p99=median * rng.choice((1, 4)),
        raw_delivery=rng.random() < 0.5,
        response_in_event=rng.random() < 0.5,
        lines=rng.random() < 0.5,
        shows_missing=rng.random() < 0.85,
        visibility=rng.choice((5.0, 30.0)),
        source_visibility=rng.choice((6.0, 30.0)),
        latency=rng.choice((0.0, 0.05, 0.5)),
        disk=rng.choice((0.0, 0.0, 0.02)),
        flush=rng.choice((0.05, 0.5, 1.0, 1.0, 3.0, 3.0, 10.0)),
    )


def _death(rng: random.Random, config: Config) -> Death:
    power = config.ledger.durability == "full" and rng.random() < 0.4
    gap = rng.choice((0.0, 1.0, 20.0, 70.0))
    how = rng.random()
    if how < 0.5:
        name = rng.choice((*MOMENTS, *named_moments()))
        return Death("moment", name, _geometric(rng, 0.3), power=power, gap=gap)
    if how < 0.75:
        return Death("visit", visit=_geometric(rng, 0.01), power=power, gap=gap)
    after = rng.choice((0.0, 1.0, 10.0, 60.0)) * rng.random()
    if how < 0.9:
        return Death("time", after=after, power=power, gap=gap)
    return Death("signal", after=after, twice=rng.random() < 0.4, gap=gap)


def _geometric(rng: random.Random, chance_of_end: float) -> int:
    count = 1
    while rng.random() >= chance_of_end:
        count += 1
    return count
