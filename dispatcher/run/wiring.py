"""The wiring: makes the stages of a run from its configuration and the parts it has opened."""

from dataclasses import dataclass

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from dispatcher.aws.transport import Transport
from dispatcher.completion.joiner import Claimed, Joiner
from dispatcher.completion.listener import EventQueue, Listener
from dispatcher.completion.output_reader import OutputReader
from dispatcher.completion.sweep.sweeper import Sweeper
from dispatcher.config.settings import Config
from dispatcher.connectors.sink import Sink
from dispatcher.dispatch.acceptance import AcceptanceProbe
from dispatcher.dispatch.held_refusals import HeldRefusals
from dispatcher.dispatch.intake import Intake
from dispatcher.dispatch.oversize import OversizeHandler
from dispatcher.dispatch.resend import ResendQueue
from dispatcher.dispatch.sender import Sender, SenderState
from dispatcher.dispatch.staging.stager import Stager
from dispatcher.environment import Environment
from dispatcher.flow.budget import MemoryBudget
from dispatcher.ledger.invocation import Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.replacement import PARTS
from dispatcher.observe.events import Observer
from dispatcher.packing.codec import Codec
from dispatcher.packing.packer import Packer
from dispatcher.records.source import Source
from dispatcher.retry.invocations import SplitBudget
from dispatcher.retry.outage_timer import OutageTimer
from dispatcher.run.settler import Settler, learned_batch_size
from dispatcher.run.shutdown import Shutdown

_MAX_SETTLEMENTS = 256
"""Settlements that wait for the settler, which writes many together. The memory that they take is
reserved in ``limits.payload_memory`` until then."""

_MAX_RECEIPTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The parts that a run has opened before it begins.

    Attributes:
        ledger: The run's ledger.
        codec: Makes payloads of records.
        transport: The calls to AWS.
        source: Gives records.
        results: The sink of completed records.
        dead_letters: The sink of dead letters.
    """

    ledger: Ledger
    codec: Codec
    transport: Transport
    source: Source
    results: Sink
    dead_letters: Sink


class Channels:
    """The streams between the stages; each ends when all its senders are closed.

    Attributes:
        intents, to_send: From intake and resend queue to the senders.
        claims, to_join: From listeners and sweeper to the joiners.
        settlements, to_settle: From joiners, intake and held_refusals to the settler.
        receipts, to_delete: From listeners, joiners and settler to the completion queue.
    """

    def __init__(self, *, concurrency: int, fetchers: int) -> None:
        self.intents: MemoryObjectSendStream[Planned]
        self.to_send: MemoryObjectReceiveStream[Planned]
        self.intents, self.to_send = anyio.create_memory_object_stream[Planned](concurrency)
        self.claims: MemoryObjectSendStream[Claimed]
        self.to_join: MemoryObjectReceiveStream[Claimed]
        self.claims, self.to_join = anyio.create_memory_object_stream[Claimed](fetchers)
        self.settlements: MemoryObjectSendStream[list[Settlement]]
        self.to_settle: MemoryObjectReceiveStream[list[Settlement]]
        self.settlements, self.to_settle = anyio.create_memory_object_stream[list[Settlement]](
            _MAX_SETTLEMENTS
        )
        self.receipts: MemoryObjectSendStream[list[str]]
        self.to_delete: MemoryObjectReceiveStream[list[str]]
        self.receipts, self.to_delete = anyio.create_memory_object_stream[list[str]](_MAX_RECEIPTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The stages of a run, wired together and not yet started.

    Attributes:
        channels: Between the stages.
        intake: Reads, packs and plans.
        resend: Waits for the time of retries.
        sender: Makes calls.
        sender_state: Shared by the sender loops.
        held_refusals: Holds refused invocations.
        staging: Puts large payloads into S3.
        listener: Hears events; None without a completion queue.
        event_queue: The completion queue, or None.
        sweeper: Looks into S3.
        joiner: Makes outcomes of completions.
        settler: Writes outcomes.
        shutdown: Ends the run early.
        drained: Set when the events that waited at the start have been heard.
    """

    channels: Channels
    intake: Intake
    resend: ResendQueue
    sender: Sender
    sender_state: SenderState
    held_refusals: HeldRefusals
    staging: Stager
    listener: Listener | None
    event_queue: EventQueue | None
    sweeper: Sweeper
    joiner: Joiner
    settler: Settler
    shutdown: Shutdown
    drained: anyio.Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLevels:
    """The levels of a run, read from their owners; a ``dispatcher.observe.meter.Levels``."""

    senders: SenderState
    ledger: Ledger
    source: Source

    @property
    def on_wire(self) -> int:
        """Calls under way."""
        return self.senders.on_wire

    @property
    def outstanding(self) -> int:
        """Invocations without an outcome."""
        return self.ledger.outstanding

    @property
    def bytes_read(self) -> int:
        """Bytes of the input behind the reader."""
        return self.source.bytes_read


def build(config: Config, opened: Opened, *, observe: Observer, environment: Environment) -> Stages:
    """Return the stages of a run."""
    ledger, transport, source = opened.ledger, opened.transport, opened.source
    limits, now = config.limits, environment.now
    channels = Channels(concurrency=limits.concurrency, fetchers=config.completion.fetchers)
    memory = MemoryBudget(limits.payload_memory)
    split_budget = SplitBudget(
        config.retry.bisection,
        read=_settled_records(ledger) + ledger.outstanding_records,
        made=ledger.tallies.get(PARTS, 0),
    )
    batch_size = learned_batch_size(ledger.tallies)
    resend = ResendQueue(ledger, now)
    staging = Stager(
        settings=config.staging,
        retry=config.retry,
        select=config.packing.select,
        ledger=ledger,
        codec=opened.codec,
        objects=transport.objects,
        memory=memory,
        observe=observe,
        environment=environment,
    )
    held_refusals = HeldRefusals(ledger=ledger, memory=memory, max_outstanding=limits.outstanding)
    sender_state = SenderState(environment.monotonic())
    sender = Sender(
        endpoint=config.endpoint.name,
        request=config.request,
        retry=config.retry,
        ledger=ledger,
        invoker=transport.runtime,
        staging=staging,
        oversize=OversizeHandler(
            has_bucket=config.staging.bucket is not None,
            ledger=ledger,
            staging=staging,
            split_budget=split_budget,
            observe=observe,
            resend=resend.add,
        ),
        acceptance=AcceptanceProbe(
            ledger=ledger,
            objects=transport.objects,
            is_chosen=config.request.output_naming == "chosen",
        ),
        held_refusals=held_refusals,
        memory=memory,
        observe=observe,
        state=sender_state,
        environment=environment,
    )
    intake = Intake(
        source=source,
        packer=Packer(
            config.packing,
            opened.codec,
            staging=config.staging.bucket is not None,
            batch_size=batch_size,
        ),
        ledger=ledger,
        resend=resend.add,
        intents=channels.intents.clone(),
        settlements=channels.settlements.clone(),
        memory=memory,
        split_budget=split_budget,
        observe=observe,
        monotonic=environment.monotonic,
    )
    # One for each kind of request: probes that are answered say nothing of reads that are not.
    reads, probes, polls = (
        OutageTimer(
            config.retry.give_up_after,
            environment.monotonic,
            "completions could not be asked for",
            observe=observe,
        )
        for _ in range(3)
    )
    joiner = Joiner(
        packing=config.packing,
        sink=config.sink,
        retry=config.retry,
        max_output=config.completion.max_output,
        ledger=ledger,
        outputs=OutputReader(
            objects=transport.objects, max_output=config.completion.max_output, outage=reads
        ),
        memory=memory,
        outage=reads,
        split_budget=split_budget,
        observe=observe,
        resend=resend.add,
        environment=environment,
    )
    sweeper = Sweeper(
        completion=config.completion,
        lifetime=config.request.ttl + config.request.timeout,
        give_up_after=config.retry.give_up_after,
        ledger=ledger,
        objects=transport.objects,
        observe=observe,
        outage=probes,
        now=now,
    )
    drained = anyio.Event()
    event_queue = listener = None
    if config.completion.queue_url is None:
        drained.set()
    else:
        event_queue = transport.queue(config.completion.queue_url)
        listener = Listener(
            ledger=ledger,
            queue=event_queue,
            foreign=config.completion.foreign,
            outage=polls,
            observe=observe,
            heard=sweeper.heard,
            drained=drained,
        )
    settler = Settler(
        results=opened.results,
        dead_letters=opened.dead_letters,
        ledger=ledger,
        source=source,
        batch_size=batch_size,
        observe=observe,
        now=now,
    )
    shutdown = Shutdown(
        source=source,
        intake=intake,
        resend=resend,
        held_refusals=held_refusals,
        drain=limits.drain,
        observe=observe,
    )
    return Stages(
        channels=channels,
        intake=intake,
        resend=resend,
        sender=sender,
        sender_state=sender_state,
        held_refusals=held_refusals,
        staging=staging,
        listener=listener,
        event_queue=event_queue,
        sweeper=sweeper,
        joiner=joiner,
        settler=settler,
        shutdown=shutdown,
        drained=drained,
    )


def _settled_records(ledger: Ledger) -> int:
    """Return how many records earlier processes of this run settled."""
    tallies = ledger.tallies
    return sum(n for name, n in tallies.items() if name == "completed" or name.startswith("dead:"))
