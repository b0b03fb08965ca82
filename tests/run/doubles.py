"""The parts that a run opens as doubles around a real ledger, and the stages wired to them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import anyio
import anyio.lowlevel

from dispatcher.aws.objects import Objects
from dispatcher.aws.queue import Queue
from dispatcher.aws.session import Clients
from dispatcher.aws.transport import Transport
from dispatcher.config.settings import Config
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Outcome
from dispatcher.observe.events import Observer
from dispatcher.packing.codec import Codec
from dispatcher.records.record import Item, Position
from dispatcher.records.source import Mark
from dispatcher.run.wiring import Opened, Stages, build
from tests.completion.scene import Scene
from tests.doubles import FakeObjects, FakeQueue, FakeRuntime

if TYPE_CHECKING:
    from dispatcher.connectors.sink import Sink
    from dispatcher.records.source import Source


@dataclass
class EndlessSource:
    """A source that gives its items in one batch, and then waits for more until it is cancelled."""

    items: list[Item] = field(default_factory=list)
    bytes_expected: int | None = None
    bytes_read: int = 0
    may_pause: bool = False
    is_stopped: bool = False

    async def open(self, marks: Mapping[str, Mark], heads: Mapping[str, str]) -> dict[str, str]:
        return {}

    async def read(self) -> list[Item]:
        if not self.items:
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        items, self.items = self.items, []
        return items

    async def run(self) -> None: ...

    def stop(self) -> None:
        self.is_stopped = True

    def acknowledge(self, positions: Iterable[Position]) -> None: ...

    async def finish(self) -> None: ...

    async def aclose(self) -> None: ...


@dataclass
class ListSink:
    """A sink that keeps outcomes, and cannot be cut back."""

    name: str
    mark: SinkMark | None = None
    outcomes: list[Outcome] = field(default_factory=list)

    async def write(self, outcomes: Sequence[Outcome]) -> None:
        await anyio.lowlevel.checkpoint()
        self.outcomes += outcomes


def opened(config: Config, ledger: Ledger, source: EndlessSource | None = None) -> Opened:
    """Return what a run of this configuration opens."""
    results: Sink = ListSink("results")
    dead_letters: Sink = ListSink("dead letters")
    items: Source = source or EndlessSource()
    return Opened(
        ledger=ledger,
        codec=Codec(config.packing, content_type=None),
        transport=Transport(
            name="doubles",
            clients=cast("Clients", None),  # nothing but the hot calls is made
            runtime=FakeRuntime(),
            objects=cast("Objects", FakeObjects()),
            queue=lambda url: cast("Queue", FakeQueue(url=url)),
        ),
        source=items,
        results=results,
        dead_letters=dead_letters,
    )


@contextmanager
def wired(
    scene: Scene, source: EndlessSource | None = None, observe: Observer | None = None
) -> Iterator[Stages]:
    """Build the stages of a scene's run; close their streams afterwards."""
    stages = build(
        scene.config,
        opened(scene.config, scene.ledger, source),
        observe=observe or scene.meter.observe,
        environment=scene.joiner.environment,
    )
    with ExitStack() as stack:
        for stream in vars(stages.channels).values():
            stack.enter_context(stream)
        stack.enter_context(stages.intake.intents)
        stack.enter_context(stages.intake.settlements)
        yield stages
