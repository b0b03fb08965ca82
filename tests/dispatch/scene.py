"""A run at the sender's place: doubles of the endpoint and S3, a real ledger."""

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

from dispatcher.config.settings import Config
from dispatcher.dispatch.acceptance import AcceptanceProbe
from dispatcher.dispatch.held_refusals import HeldRefusals
from dispatcher.dispatch.oversize import OversizeHandler
from dispatcher.dispatch.sender import Sender, SenderState
from dispatcher.dispatch.staging.stager import Stager
from dispatcher.environment import Environment
from dispatcher.flow.budget import MemoryBudget
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.observe.meter import Meter
from dispatcher.packing.codec import Codec
from dispatcher.packing.parcel import Parcel, Route
from dispatcher.records.record import Position, Record
from dispatcher.retry.invocations import SplitBudget
from tests.doubles import FakeObjects, FakeRuntime
from tests.virtual_time import BEGAN, monotonic, now


def record(number: int, raw: bytes | None = None, stream: str = "in") -> Record:
    position = Position(stream, number * 10, number * 10 + 10, number + 1)
    return Record(position, f"key-{number}", b'{"n":%d}' % number if raw is None else raw)


@dataclass
class Scene:
    """One process of a run, at the sender's place."""

    config: Config
    ledger: Ledger
    service: FakeRuntime = field(default_factory=FakeRuntime)
    bucket: FakeObjects = field(default_factory=FakeObjects)
    meter: Meter = field(default_factory=Meter)
    memory: MemoryBudget = field(default_factory=lambda: MemoryBudget(64_000_000))
    state: SenderState = field(default_factory=lambda: SenderState(BEGAN))
    postponed: list[Planned] = field(default_factory=list)

    @property
    def now(self) -> Callable[[], float]:
        return now

    def __post_init__(self) -> None:
        environment = Environment(monotonic, now, random.Random(5))
        self.staging = Stager(
            settings=self.config.staging,
            retry=self.config.retry,
            select=self.config.packing.select,
            ledger=self.ledger,
            codec=Codec(self.config.packing, content_type=None),
            objects=self.bucket,
            memory=self.memory,
            observe=self.meter.observe,
            environment=environment,
        )
        self.split_budget = SplitBudget(self.config.retry.bisection)
        self.held_refusals = HeldRefusals(
            ledger=self.ledger,
            memory=self.memory,
            max_outstanding=self.config.limits.outstanding,
        )
        self.sender = Sender(
            endpoint=self.config.endpoint.name,
            request=self.config.request,
            retry=self.config.retry,
            ledger=self.ledger,
            invoker=self.service,
            staging=self.staging,
            oversize=OversizeHandler(
                has_bucket=self.config.staging.bucket is not None,
                ledger=self.ledger,
                staging=self.staging,
                split_budget=self.split_budget,
                observe=self.meter.observe,
                resend=self.postponed.append,
            ),
            acceptance=AcceptanceProbe(ledger=self.ledger, objects=self.bucket, is_chosen=True),
            held_refusals=self.held_refusals,
            memory=self.memory,
            observe=self.meter.observe,
            state=self.state,
            environment=environment,
        )
        self._numbers = iter(range(1_000_000))

    async def plan(self, count: int = 1, *, route: Route = "inline") -> list[Planned]:
        records = [record(next(self._numbers)) for _ in range(count)]
        parcels = [Parcel([r], r.raw, "application/json", route) for r in records]
        return await self.ledger.plan(parcels)

    async def send(self, intents: Sequence[Planned], *, loops: int = 1) -> list[Settlement]:
        """Run the sender's loops over these intents and return what was given up."""
        give, to_send = anyio.create_memory_object_stream[Planned](len(intents))
        settlements, given_up = anyio.create_memory_object_stream[list[Settlement]](len(intents))
        with give, to_send, settlements, given_up:
            for planned in intents:
                give.send_nowait(planned)
            give.close()
            if loops == 1:
                await self.sender.run(to_send.clone(), settlements.clone())
            else:
                async with anyio.create_task_group() as group:
                    for _ in range(loops):
                        group.start_soon(self.sender.run, to_send.clone(), settlements.clone())
            await self.held_refusals.conclude(settlements)
            settlements.close()
            settled = [settlement async for group in given_up for settlement in group]
            for settlement in settled:
                if settlement.reservation is not None:  # as the settler does, once it is written
                    settlement.reservation.release()
            return settled

    async def settle(self, *numbers: int) -> None:
        """Complete invocations as the other end of the line does."""
        settlements = []
        for number in numbers:
            entry = self.ledger.find(number)
            assert entry is not None
            assert entry.claimed or self.ledger.claim(entry)
            outcomes = [
                Outcome(ref.position, ref.key, "completed", b"1", None) for ref in entry.record_refs
            ]
            settlements.append(Settlement(entry, outcomes))
        await self.ledger.settle(settlements, {})

    def entry(self, planned: Planned) -> Entry:
        entry = self.ledger.find(planned.number)
        assert entry is not None
        return entry

    def output_of(self, planned: Planned) -> str:
        return f"s3://out/results/{planned.shard}/{planned.id}.out"


class OpenScene(Protocol):
    """Begin a process of the run; sections of the configuration override the defaults.

    By default the service has accepted something in an earlier one (``begun``).
    """

    def __call__(
        self, *, begun: bool = True, **sections: Mapping[str, object]
    ) -> AbstractAsyncContextManager[Scene]: ...


@pytest.fixture
def open_scene(tmp_path: Path) -> OpenScene:
    @asynccontextmanager
    async def opened(
        *, begun: bool = True, **sections: Mapping[str, object]
    ) -> AsyncIterator[Scene]:
        config = Config.model_validate(
            {
                "endpoint": "churn",
                "source": {"path": "in"},
                "staging": {"bucket": "inputs", "prefix": "staged/"},
                **sections,
            }
        )
        async with open_ledger(
            tmp_path / "ledger.db",
            codec=Codec(config.packing, content_type=None),
            durability="relaxed",
            outstanding=config.limits.outstanding,
            now=now,
        ) as ledger:
            if begun:
                await ledger.remember(accepted="yes")
            yield Scene(config, ledger)

    return opened


@pytest.fixture
async def scene(open_scene: OpenScene) -> AsyncIterator[Scene]:
    async with open_scene() as made:
        yield made
