"""A run on a real emulator over real HTTP, inside the test's process."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dispatcher.aws.session import Access
from dispatcher.config.settings import Config, EmulatorSettings
from dispatcher.emulator.clock import Clock
from dispatcher.emulator.server import Emulator
from dispatcher.ledger.check.status import read_status
from dispatcher.observe.meter import Meter
from dispatcher.run import pipeline

Json = dict[str, Any]


@dataclass
class Way:
    """One folder with input and outputs, and an emulator to run against."""

    folder: Path
    emulator: Emulator
    meter: Meter = field(default_factory=Meter)

    @property
    def access(self) -> Access:
        e = self.emulator
        return Access(
            endpoint_url=e.url,
            region=e.region,
            access_key_id=e.access_key_id,
            secret_access_key=e.secret_access_key,
        )

    def config(self, **sections: Json) -> Config:
        settings: Json = {
            "endpoint": "emulated",
            "source": {"path": str(self.folder / "in.jsonl"), "key": "id"},
            "completion": {"queue_url": self.emulator.queue_url},
            "staging": {"bucket": self.emulator.input_bucket},
            "ledger": {"path": str(self.folder / "ledger.db")},
            "sink": {"path": str(self.folder / "results.jsonl")},
            "dead_letters": {"path": str(self.folder / "dead.jsonl")},
        }
        for name, values in sections.items():
            settings[name] = settings.get(name, {}) | values
        return Config.model_validate(settings)

    def write(self, records: list[Json]) -> None:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (self.folder / "in.jsonl").write_text(lines)

    async def run(self, **sections: Json) -> pipeline.RunResult:
        self.meter = Meter()
        return await pipeline.run(self.config(**sections), meter=self.meter, access=self.access)

    def tag(self) -> str:
        return read_status(self.folder / "ledger.db").run_tag

    def results(self) -> list[Json]:
        return _lines(self.folder / "results.jsonl")

    def dead(self) -> list[Json]:
        return _lines(self.folder / "dead.jsonl")


def _lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines()]


WayTo = Callable[..., Awaitable[Way]]


@pytest.fixture
async def way_to(tmp_path: Path) -> AsyncIterator[WayTo]:
    """Make a way to an emulator with the given settings, and a clock where it has its own."""
    opened: list[Emulator] = []

    async def make(*, clock: Clock | None = None, **settings: Any) -> Way:
        emulator = Emulator(
            EmulatorSettings.model_validate({"service_time": 0, "instances": 32, **settings}),
            endpoints=["emulated"],
            clock=clock,
        )
        opened.append(await emulator.__aenter__())
        return Way(tmp_path, emulator)

    yield make
    for emulator in opened:
        await emulator.__aexit__(None, None, None)
