"""Virtual time, a bucket and a queue that do as they are told, and a real ledger."""

import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from dispatcher import limits
from dispatcher.aws.requests import Location, SqsMessage
from dispatcher.completion.event import Completion
from dispatcher.completion.joiner import Claimed, Joiner
from dispatcher.config.settings import Config
from dispatcher.errors import CallError, Denied, NotThere
from dispatcher.flow.budget import MemoryBudget, Reservation
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.observe.meter import Meter
from dispatcher.packing.codec import Codec
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record
from dispatcher.retry.outage import OutageTimer
from dispatcher.retry.outcomes import RetryInvocation
from tests.payloads import joined
from tests.virtual_time import (
    monotonic,
    no_threads,
    now,
    pytest_asyncio_loop_factories,
)

Fault = CallError | Denied

# Fixture and hook: they make this folder's tests run in virtual time.
__all__ = ["no_threads", "pytest_asyncio_loop_factories"]


ONCE = {reason: {"attempts": 1} for reason in ("model_server_error", "expired", "output_missing")}
"""Nothing is tried again unless a test says so."""


@dataclass
class Incoming:
    """An object under way; its bytes come after the faults."""

    size: int
    content_type: str | None
    body: bytes
    faults: list[Fault]

    async def read(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if self.faults:
            raise self.faults.pop(0)
        return self.body


@dataclass
class Bucket:
    """Holds objects; every kind of call raises its faults first."""

    objects: dict[str, tuple[bytes, str | None]] = field(default_factory=dict)
    open_faults: list[Fault] = field(default_factory=list)
    read_faults: list[Fault] = field(default_factory=list)
    look_faults: list[Fault | None] = field(default_factory=list)
    page_faults: list[Fault] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    is_visible: bool = True

    @asynccontextmanager
    async def open(self, location: Location) -> AsyncIterator[Incoming]:
        self.opened.append(str(location))
        await anyio.lowlevel.checkpoint()
        if self.open_faults:
            raise self.open_faults.pop(0)
        if str(location) not in self.objects:
            raise NotThere("no such object")
        body, content_type = self.objects[str(location)]
        yield Incoming(len(body), content_type, body, self.read_faults)

    async def exists(self, location: Location) -> bool | None:
        self.looks.append(str(location))
        await anyio.lowlevel.checkpoint()
        if self.look_faults and (fault := self.look_faults.pop(0)):
            raise fault
        return str(location) in self.objects if self.is_visible else None

    async def page(self, folder: Location) -> set[str]:
        self.pages.append(str(folder))
        await anyio.lowlevel.checkpoint()
        if self.page_faults:
            raise self.page_faults.pop(0)
        bucket = f"s3://{folder.bucket}/"
        keys = sorted(at.removeprefix(bucket) for at in self.objects if at.startswith(str(folder)))
        return set(keys[: limits.S3_LIST_PAGE_KEYS])


@dataclass
class EventQueue:
    """Delivers the batches it was given, then waits for ever."""

    batches: list[list[str] | Fault] = field(default_factory=list)
    deleted: list[list[str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    received: int = 0
    waits: list[int | None] = field(default_factory=list)

    async def receive(self, *, wait: int | None = None) -> list[SqsMessage]:
        await anyio.lowlevel.checkpoint()
        self.waits.append(wait)
        if not self.batches:
            await anyio.sleep_forever()
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        messages = []
        for body in batch:
            messages.append(SqsMessage(body, f"receipt-{self.received}", "id"))
            self.received += 1
        return messages

    async def delete(self, receipts: Sequence[str]) -> list[str]:
        await anyio.lowlevel.checkpoint()
        if self.faults:
            raise self.faults.pop(0)
        self.deleted.append(list(receipts))
        return []


@dataclass
class Scene:
    """One process of a run, between the accepted call and the settled record."""

    config: Config
    ledger: Ledger
    bucket: Bucket = field(default_factory=Bucket)
    queue: EventQueue = field(default_factory=EventQueue)
    meter: Meter = field(default_factory=Meter)
    memory: MemoryBudget = field(default_factory=lambda: MemoryBudget(64_000_000))
    postponed: list[Planned] = field(default_factory=list)
    heard: list[tuple[Entry | None, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.joiner = Joiner(
            self.config,
            self.ledger,
            self.bucket,
            self.memory,
            OutageTimer(
                300.0, monotonic, "completions could not be asked for", self.meter.troubles
            ),
            self.meter,
            self.postponed.append,
            self.now,
            random.Random(3),
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
                Parcel(records, payload, "application/json", "inline", kept=b"\n".join(raws))
            )
        planned = [one.number for one in await self.ledger.plan(parcels)]
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
                Outcome(s.position, s.key, "completed", b"1", None) for s in entry.record_refs
            ]
            settlements.append(Settlement(entry, outcomes))
        await self.ledger.settle(settlements, {})

    async def join(self, entry: Entry, completion: Completion) -> list[Outcome] | None:
        """Join one completion; None where its answer cannot be read for now."""
        reservation = Reservation(self.memory)
        try:
            settled = await self.joiner.settle(Claimed(entry, completion), reservation)
        finally:
            reservation.release()
        assert self.memory.free == self.memory.capacity
        assert not isinstance(settled, RetryInvocation)
        assert settled is None or settled.entry is entry
        return None if settled is None else settled.outcomes


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
