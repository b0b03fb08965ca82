"""Virtual time, a service and a bucket that do as they are told, and a real ledger."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from dispatcher.aws.requests import InvokeRequest, InvokeResponse, Location, PutOptions
from dispatcher.config.settings import Config
from dispatcher.dispatch.acceptance import AcceptanceProbe
from dispatcher.dispatch.oversize import OversizeHandler
from dispatcher.dispatch.sender import Sender, SenderState
from dispatcher.dispatch.staging.staging import Staging
from dispatcher.errors import CallError, Denied, NotThere
from dispatcher.flow.budget import MemoryBudget
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.outcome import Outcome, Settlement
from dispatcher.observe.meter import Meter
from dispatcher.packing.codec import Codec
from dispatcher.packing.parcel import Parcel, Route
from dispatcher.records.record import Position, Record
from tests.virtual_time import (
    BEGAN,
    monotonic,
    no_threads,
    now,
    pytest_asyncio_loop_factories,
)

Reply = CallError | Denied | Callable[[InvokeRequest], Awaitable[None]] | None

# Fixture and hook: they make this folder's tests run in virtual time.
__all__ = ["no_threads", "pytest_asyncio_loop_factories"]


@dataclass
class Service:
    """Answers each call as the script says, and accepts when that has ended."""

    script: list[Reply] = field(default_factory=list)
    requests: list[InvokeRequest] = field(default_factory=list)
    always: CallError | None = None
    seconds: float = 0.0
    on_wire: int = 0
    most: int = 0

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        self.requests.append(request)
        self.on_wire += 1
        self.most = max(self.most, self.on_wire)
        try:
            await anyio.sleep(self.seconds)
            reply = self.script.pop(0) if self.script else self.always
            if isinstance(reply, Exception):
                raise reply
            if reply is not None:
                await reply(request)
        finally:
            self.on_wire -= 1
        name = f"{request.output_extension}/{request.filename}"
        return InvokeResponse(f"s3://out/results/{name}", f"s3://out/failures/{name}")


@dataclass
class Upload:
    """An object in parts; a fault of ``part_faults`` strikes each time that a part is written."""

    bucket: "Bucket"
    location: Location
    content_type: str
    parts: dict[int, bytes] = field(default_factory=dict)

    async def part(self, number: int, body: bytes) -> None:
        await anyio.sleep(self.bucket.seconds)
        if self.bucket.part_faults and (fault := self.bucket.part_faults.pop(0)) is not None:
            raise fault
        self.parts[number] = body

    async def complete(self) -> None:
        await anyio.sleep(self.bucket.seconds)
        body = b"".join(self.parts[number] for number in sorted(self.parts))
        self.bucket.objects[str(self.location)] = body, self.content_type
        self.bucket.uploads.remove(self)

    async def abort(self) -> None:
        await anyio.sleep(self.bucket.seconds)
        if self in self.bucket.uploads:
            self.bucket.uploads.remove(self)
            self.bucket.aborted += 1


@dataclass
class Bucket:
    """Keeps what is put; looks are answered from it after the faults have been raised."""

    objects: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    options: list[PutOptions] = field(default_factory=list)
    puts: int = 0
    seconds: float = 0.0
    uploads: list[Upload] = field(default_factory=list)
    aborted: int = 0
    looks: list[str] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    sees: bool = True
    put_faults: list[CallError | Denied] = field(default_factory=list)
    part_faults: list[CallError | Denied | None] = field(default_factory=list)
    look_faults: list[CallError] = field(default_factory=list)
    delete_faults: list[CallError | Denied] = field(default_factory=list)

    async def put(
        self, location: Location, body: bytes, content_type: str, options: PutOptions
    ) -> None:
        self.puts += 1
        self.options.append(options)
        await anyio.sleep(self.seconds)
        if self.put_faults:
            raise self.put_faults.pop(0)
        self.objects[str(location)] = body, content_type

    async def upload(self, location: Location, content_type: str, options: PutOptions) -> Upload:
        self.options.append(options)
        upload = Upload(self, location, content_type)
        self.uploads.append(upload)
        return upload

    async def abort_uploads(self, location: Location) -> None:
        for upload in [upload for upload in self.uploads if upload.location == location]:
            await upload.abort()

    async def exists(self, location: Location) -> bool | None:
        self.looks.append(str(location))
        if self.look_faults:
            raise self.look_faults.pop(0)
        return str(location) in self.objects

    async def size(self, location: Location) -> int | None:
        if not await self.exists(location):
            raise NotThere("gone", code="404")
        return len(self.objects[str(location)][0]) if self.sees else None

    async def delete(self, location: Location) -> None:
        self.deletes.append(str(location))
        await anyio.sleep(self.seconds)
        if self.delete_faults:
            raise self.delete_faults.pop(0)
        self.objects.pop(str(location), None)


def record(number: int, raw: bytes | None = None, stream: str = "in") -> Record:
    position = Position(stream, number * 10, number * 10 + 10, number + 1)
    return Record(position, f"key-{number}", b'{"n":%d}' % number if raw is None else raw)


@dataclass
class Scene:
    """One process of a run, at the sender's place."""

    config: Config
    ledger: Ledger
    service: Service = field(default_factory=Service)
    bucket: Bucket = field(default_factory=Bucket)
    meter: Meter = field(default_factory=Meter)
    memory: MemoryBudget = field(default_factory=lambda: MemoryBudget(64_000_000))
    wire: SenderState = field(default_factory=lambda: SenderState(BEGAN))
    postponed: list[Planned] = field(default_factory=list)

    @property
    def now(self) -> Callable[[], float]:
        return now

    def __post_init__(self) -> None:
        self.staging = Staging(
            self.config,
            self.ledger,
            Codec(self.config.packing, content_type=None),
            self.bucket,
            self.memory,
            self.meter,
            monotonic,
            random.Random(5),
        )
        self.sender = Sender(
            self.config,
            self.ledger,
            self.service,
            self.staging,
            OversizeHandler(
                self.config, self.ledger, self.staging, self.meter, self.postponed.append
            ),
            AcceptanceProbe(self.ledger, self.bucket),
            self.memory,
            self.meter,
            self.wire,
            monotonic,
            now,
            random.Random(5),
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
            await self.sender.conclude(settlements)
            settlements.close()
            settled = [one async for some in given_up for one in some]
            for one in settled:
                if one.reservation is not None:  # as the settler does, once they are written
                    one.reservation.release()
            return settled

    async def settle(self, *numbers: int) -> None:
        """Complete invocations as the other end of the line does."""
        settlements = []
        for number in numbers:
            entry = self.ledger.find(number)
            assert entry is not None
            assert entry.claimed or self.ledger.claim(entry)
            outcomes = [
                Outcome(s.position, s.key, "completed", b"1", None) for s in entry.record_refs
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

    Unless told otherwise the service has accepted something in an earlier one (``begun``).
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
