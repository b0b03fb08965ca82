"""A run between the accepted call and the settled record: doubles of S3 and SQS, a real ledger."""

import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio
import pytest

from dispatcher.aws.location import parse_location
from dispatcher.completion.event import Completion
from dispatcher.completion.joiner import Claimed, Joiner
from dispatcher.completion.output_reader import OutputReader
from dispatcher.completion.sweep.sweeper import Sweeper
from dispatcher.config.settings import Config
from dispatcher.environment import Environment
from dispatcher.flow.budget import MemoryBudget, Reservation
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.observe.meter import Meter
from dispatcher.packing.codec import Codec
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record
from dispatcher.retry.invocations import RetryInvocation, SplitBudget
from dispatcher.retry.outage_timer import OutageTimer
from tests.doubles import FakeObjects, ScriptedQueue
from tests.payloads import joined
from tests.virtual_time import monotonic, now

QUEUE = {"queue_url": "https://sqs/events"}

DEADLINE_SECONDS = 21_600 + 900 + 60
"""From acceptance to expiry by default: TTL, timeout and slack."""

ONCE = {reason: {"attempts": 1} for reason in ("model_server_error", "expired", "output_missing")}
"""Nothing is tried again unless a test says so."""


@dataclass
class Scene:
    """One process of a run, between the accepted call and the settled record."""

    config: Config
    ledger: Ledger
    bucket: FakeObjects = field(default_factory=FakeObjects)
    queue: ScriptedQueue = field(default_factory=ScriptedQueue)
    meter: Meter = field(default_factory=Meter)
    memory: MemoryBudget = field(default_factory=lambda: MemoryBudget(64_000_000))
    postponed: list[Planned] = field(default_factory=list)
    heard: list[tuple[Entry | None, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outage = OutageTimer(
            300.0, monotonic, "completions could not be asked for", observe=self.meter.observe
        )
        self.split_budget = SplitBudget(self.config.retry.bisection)
        self.joiner = Joiner(
            packing=self.config.packing,
            sink=self.config.sink,
            retry=self.config.retry,
            max_output=self.config.completion.max_output,
            ledger=self.ledger,
            outputs=OutputReader(
                objects=self.bucket,
                max_output=self.config.completion.max_output,
                outage=self.outage,
            ),
            memory=self.memory,
            outage=self.outage,
            split_budget=self.split_budget,
            observe=self.meter.observe,
            resend=self.postponed.append,
            environment=Environment(monotonic, now, random.Random(3)),
        )
        self._numbers = iter(range(1_000_000))

    @property
    def now(self) -> Callable[[], float]:
        return now

    def hear(self, entry: Entry | None) -> None:
        """Note an event of the run, and whether its invocation was claimed before."""
        self.heard.append((entry, entry is not None and entry.claimed))

    async def plan(self, *sizes: int) -> list[Entry]:
        """Plan invocations of so many records each."""
        framing = self.config.packing.framing
        parcels = []
        for size in sizes:
            records = []
            for _ in range(size):
                n = next(self._numbers)
                raw = b'{"n":%d}' % n
                records.append(Record(Position("in", n * 10, n * 10 + 10, n + 1), f"key-{n}", raw))
            raws = [record.raw for record in records]
            payload = joined(framing, raws)
            parcels.append(
                Parcel(records, payload, "application/json", "inline", spooled=b"\n".join(raws))
            )
        planned = [invocation.number for invocation in await self.ledger.plan(parcels)]
        return [entry for number in planned if (entry := self.ledger.find(number))]

    async def accepted(self, count: int = 1) -> list[Entry]:
        """Plan invocations of one record each that the service has accepted."""
        entries = await self.plan(*[1] * count)
        for entry in entries:
            self.ledger.accept(
                entry.planned, self.now(), self.output_of(entry), self.failure_of(entry)
            )
        return entries

    def output_of(self, entry: Entry) -> str:
        return f"s3://out/results/{entry.planned.shard}/{entry.planned.id}.out"

    def failure_of(self, entry: Entry) -> str:
        return f"s3://out/failures/{entry.planned.shard}/{entry.planned.id}-error.out"

    def event(self, entry: Entry, **fields: object) -> str:
        """Return the service's event that this invocation completed."""
        return json.dumps(
            {
                "invocationStatus": "Completed",
                "inferenceId": entry.planned.id,
                "responseParameters": {"outputLocation": self.output_of(entry)},
                **fields,
            }
        )

    async def settle(self, *entries: Entry) -> None:
        settlements = []
        for entry in entries:
            outcomes = [
                Outcome(ref.position, ref.key, "completed", b"1", None) for ref in entry.record_refs
            ]
            settlements.append(Settlement(entry, outcomes))
        await self.ledger.settle(settlements, {})

    async def join(self, entry: Entry, completion: Completion) -> list[Outcome] | None:
        """Join one completion; None where its output cannot be read for now."""
        reservation = Reservation(self.memory)
        try:
            settled = await self.joiner.settle(Claimed(entry, completion), reservation)
        finally:
            reservation.release()
        assert self.memory.free == self.memory.capacity
        assert not isinstance(settled, RetryInvocation)
        assert settled is None or settled.entry is entry
        return None if settled is None else settled.outcomes


def make_sweeper(scene: Scene) -> Sweeper:
    """Return the sweeper of a scene."""
    request = scene.config.request
    return Sweeper(
        completion=scene.config.completion,
        lifetime=request.ttl + request.timeout,
        give_up_after=scene.config.retry.give_up_after,
        ledger=scene.ledger,
        objects=scene.bucket,
        observe=scene.meter.observe,
        outage=scene.outage,
        now=scene.now,
    )


class OpenScene(Protocol):
    """Begin a process of the run; sections of the configuration override the defaults."""

    def __call__(self, **sections: Mapping[str, object]) -> AbstractAsyncContextManager[Scene]: ...


@pytest.fixture
def open_scene(tmp_path: Path) -> OpenScene:
    @asynccontextmanager
    async def opened(**sections: Mapping[str, object]) -> AsyncIterator[Scene]:
        config = Config.model_validate(
            {
                "endpoint": "churn",
                "source": {"path": "in"},
                "retry": {"outcomes": ONCE},
                **sections,
            }
        )
        async with open_ledger(
            tmp_path / "ledger.db",
            codec=Codec(config.packing, content_type=None),
            durability="relaxed",
            now=now,
        ) as ledger:
            yield Scene(config, ledger)

    return opened


@pytest.fixture
async def scene(open_scene: OpenScene) -> AsyncIterator[Scene]:
    async with open_scene() as made:
        yield made


def completed(entry: Entry, location: str | None = None, body: bytes | None = None) -> Completion:
    at = parse_location(location) if location else None
    return Completion(
        "completed",
        entry.planned.id,
        at,
        body=body,
        content_type="application/json" if body else None,
    )


def drained() -> anyio.Event:
    event = anyio.Event()
    event.set()
    return event


async def found(scene: Scene, by: Sweeper | None = None) -> list[tuple[Entry, str]]:
    return [
        (entry, completion.kind) for entry, completion in await (by or make_sweeper(scene)).sweep()
    ]


async def sweep_for(scene: Scene, seconds: float, by: Sweeper | None = None) -> list[Claimed]:
    claims, to_join = anyio.create_memory_object_stream[Claimed](10_000)
    with to_join:
        with anyio.move_on_after(seconds):
            await (by or make_sweeper(scene)).run(claims, drained())
        return [claimed async for claimed in to_join]
