"""The map: which room hands what to which, in one task group, and how a run ends.

::

    source -> intake -> [ledger: planned] -> senders -> (service)
                 departures ------------------^            |
                     ^                                     |
    sinks <- settler <- joiners <- listeners (events) <----+
                ^          ^------ sweeper (S3) <----------'
      [ledger: settled] -> acknowledge (completion queue, source)

ResendQueue are what is planned already: what earlier processes left, and new attempts for what the
joiners found failed. A run ends by closing its head: the intake stops, what is outstanding
completes, and each stage ends when the stage before it has. After a signal that may take
``limits.drain``; past it the rest is cancelled, and the ledger makes that safe.
"""

import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from dispatcher.aws.preflight import probe
from dispatcher.aws.session import Access
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.completion.joiner import Claimed, Joiner
from dispatcher.completion.listener import Listener, acknowledge
from dispatcher.completion.sweep.sweeper import Sweeper
from dispatcher.config.settings import Config
from dispatcher.connectors.files.source import must_be_json
from dispatcher.connectors.open_sinks import open_sinks
from dispatcher.connectors.open_source import open_source
from dispatcher.connectors.sink import Sink
from dispatcher.connectors.sqs import sink as sinks
from dispatcher.connectors.sqs import source as sources
from dispatcher.dispatch.acceptance import AcceptanceProbe
from dispatcher.dispatch.intake import Intake
from dispatcher.dispatch.oversize import OversizeHandler
from dispatcher.dispatch.resend import ResendQueue
from dispatcher.dispatch.sender import Sender, SenderState
from dispatcher.dispatch.staging.staging import Staging
from dispatcher.environment import Environment
from dispatcher.errors import Denied
from dispatcher.flow.budget import MemoryBudget
from dispatcher.ledger.invocation import Planned
from dispatcher.ledger.ledger import REPEATED, Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.replacement import PARTS, SPLIT
from dispatcher.ledger.settlement import Settlement
from dispatcher.observe.meter import Meter
from dispatcher.packing.batch_size import BatchSize
from dispatcher.packing.codec import Codec
from dispatcher.packing.packer import Packer
from dispatcher.records.source import Source
from dispatcher.retry.outage import OutageTimer
from dispatcher.run.compatibility import agree, packing_terms, terms
from dispatcher.run.settler import Settler, sizing_of

_GATHERED = 256
"""Most settlements that wait for the settler, which writes many together. What they take of the
memory is held in ``limits.payload_memory`` until then."""


Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Transport]]
"""Opens the calls to AWS."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes:
        signal: The signal that stopped it, or None: the source was read to its end and everything
            is settled.
        outstanding: Invocations that the next process of this run will go on with.
    """

    signal: int | None
    outstanding: int


async def run(
    config: Config,
    *,
    meter: Meter,
    access: Access | None = None,
    force: bool = False,
    environment: Environment | None = None,
    connect: Connect | None = None,
) -> RunResult:
    """Dispatch the records of a configuration, or go on where an earlier process stopped.

    Args:
        config: What to run.
        meter: Is moved while the run goes on.
        access: Calls this instead of what the environment says.
        force: Go on although the configuration changed in what the run agreed on.
        environment: Clocks and random numbers; the real ones by default.
        connect: Opens the calls to AWS; by default as the configuration and ``access`` say.

    Raises:
        ConfigError: The configuration cannot be run as it is.
        RunStopped: A person has to mend something; the state is kept.
    """
    codec = Codec(
        config.packing,
        content_type=config.request.content_type,
        json_source=must_be_json(config.source, config.packing),
    )
    environment = environment or Environment()
    async with AsyncExitStack() as stack:
        opened = connect() if connect is not None else _connect(config, access)
        transport = await stack.enter_async_context(opened)
        ledger = await stack.enter_async_context(
            open_ledger(
                Path(config.ledger.path),
                codec=codec,
                durability=config.ledger.durability,
                outstanding=config.limits.outstanding,
                spool_max=config.ledger.spool_max,
                deletes_staged=config.staging.delete == "on_settled",
                now=environment.now,
            )
        )
        source = _source(config, ledger, transport, meter, environment)
        stack.push_async_callback(source.aclose)
        agree(config, ledger, force=force)
        # Until something was read, other input may take the place of what was looked at.
        known = json.loads(ledger.fact("heads") or "{}") if ledger.marks else {}
        heads = known | await source.open(ledger.replay.frontiers, known)
        results, dead_letters = stack.enter_context(
            open_sinks(
                sink=config.sink,
                dead_letters=config.dead_letters,
                durable=config.ledger.durability == "full",
                sink_mark=ledger.sink,
                queue=transport.queue,
                outage_timer=lambda what: _patience(config, meter, environment, what),
                rng=environment.rng,
            )
        )
        # Only now: what could not even be opened may be corrected in the next command.
        await ledger.remember(
            terms=terms(config),
            packing=packing_terms(config),
            heads=json.dumps(heads),
            finished="no",
        )
        _restore(meter, ledger, source)
        sizing = sizing_of(ledger.tallies)
        files = (results, dead_letters)
        line = _Run(config, ledger, source, codec, transport, *files, meter, environment, sizing)
        return await line.run()


@asynccontextmanager
async def _connect(config: Config, access: Access | None) -> AsyncIterator[Transport]:
    """Open the transport, and find out what is missing before anything is read."""
    most = config.limits.concurrency + config.completion.fetchers + 2 * config.completion.listeners
    most += config.source.receivers + sources.CALLS + 2 * sinks.CALLS
    async with open_transport(config.aws, connections=most, access=access) as transport:
        for finding in (
            *await probe.queues(transport.clients, config),
            await probe.bucket(transport.clients, config.staging.bucket, config.staging.prefix),
        ):
            if finding.ok is False:
                raise Denied(finding.detail)
        yield transport


def _source(
    config: Config, ledger: Ledger, transport: Transport, meter: Meter, environment: Environment
) -> Source:
    """Make what records come from."""
    return open_source(
        source=config.source,
        packing=config.packing,
        ledger_path=Path(config.ledger.path),
        queue=transport.queue,
        message_log=ledger.messages,
        outage_timer=lambda what: _patience(config, meter, environment, what),
        environment=environment,
    )


def _drained(config: Config) -> anyio.Event:
    """Return what is set when the queue of completions has given all that earlier ones left."""
    drained = anyio.Event()
    if config.completion.queue_url is None:
        drained.set()
    return drained


def _patience(config: Config, meter: Meter, environment: Environment, what: str) -> OutageTimer:
    return OutageTimer(config.retry.give_up_after, environment.monotonic, what, meter.troubles)


def _restore(meter: Meter, ledger: Ledger, source: Source) -> None:
    """Let the totals go on where earlier processes of this run left them."""
    meter.completed = ledger.tallies.get("completed", 0)
    for name, records in ledger.tallies.items():
        if name.startswith("dead:"):
            meter.dead_reasons[name.removeprefix("dead:")] = records
    meter.dead = meter.dead_reasons.total()
    meter.repeated = ledger.tallies.get(REPEATED, 0)
    meter.split, meter.parts = (ledger.tallies.get(name, 0) for name in (SPLIT, PARTS))
    meter.resumed_from = meter.completed + meter.dead
    meter.read = meter.resumed_from + ledger.outstanding_records
    meter.outstanding = ledger.outstanding
    meter.bytes_expected = source.bytes_expected
    meter.bytes_read = source.bytes_read


@dataclass(slots=True)
class _Run:
    """One run on open files and clients."""

    config: Config
    ledger: Ledger
    source: Source
    codec: Codec
    transport: Transport
    results: Sink
    dead_letters: Sink
    meter: Meter
    environment: Environment
    sizing: BatchSize
    _signal: int | None = None

    async def run(self) -> RunResult:
        """SenderState the rooms, and wait for the end."""
        config, ledger, meter = self.config, self.ledger, self.meter
        now, monotonic = self.environment.now, self.environment.monotonic
        objects = self.transport.objects
        memory = MemoryBudget(config.limits.payload_memory)
        intents, to_send = anyio.create_memory_object_stream[Planned](config.limits.concurrency)
        claims, to_join = anyio.create_memory_object_stream[Claimed](config.completion.fetchers)
        settlements, to_settle = anyio.create_memory_object_stream[list[Settlement]](_GATHERED)
        receipts, to_delete = anyio.create_memory_object_stream[list[str]](100)
        stages = config.staging.bucket is not None
        packer = Packer(config.packing, self.codec, staging=stages, sizing=self.sizing)
        departures = ResendQueue(ledger, now)
        intake = Intake(
            self.source,
            packer,
            ledger,
            departures,
            intents.clone(),
            settlements.clone(),
            memory,
            meter,
            monotonic,
        )
        chosen = config.request.output_naming == "chosen"
        wire = SenderState(monotonic())
        staging = Staging(
            config, ledger, self.codec, objects, memory, meter, monotonic, self.environment.rng
        )
        sender = Sender(
            config,
            ledger,
            self.transport.runtime,
            staging,
            OversizeHandler(config, ledger, staging, meter, departures.add),
            AcceptanceProbe(ledger, objects, chosen=chosen),
            memory,
            meter,
            wire,
            monotonic,
            now,
            self.environment.rng,
        )
        # One for each kind of call: looks that are answered say nothing of reads that are not.
        gets, looks, polls = (
            _patience(config, meter, self.environment, "completions could not be asked for")
            for _ in range(3)
        )
        joiner = Joiner(
            config,
            ledger,
            objects,
            memory,
            gets,
            meter,
            departures.add,
            now,
            self.environment.rng,
        )
        sweeper = Sweeper(config, ledger, objects, meter, looks, now)
        settler = Settler(
            self.results, self.dead_letters, ledger, self.source, meter, now, self.sizing
        )
        drained = _drained(config)
        async with anyio.create_task_group() as everything:
            everything.start_soon(self._heed_signals, intake, departures, wire, everything)
            for task in (ledger.flush_forever, self.source.run, staging.disposal.run):
                everything.start_soon(task)
            async with anyio.create_task_group() as tail:
                tail.start_soon(settler.run, to_settle, receipts.clone())
                async with anyio.create_task_group() as hearing:
                    hearing.start_soon(sweeper.run, claims.clone(), drained)
                    if config.completion.queue_url is not None:
                        queue = self.transport.queue(config.completion.queue_url)
                        listener = Listener(
                            config, ledger, queue, meter, polls, sweeper.heard, drained
                        )
                        for _ in range(config.completion.listeners):
                            hearing.start_soon(listener.run, claims.clone(), receipts.clone())
                            tail.start_soon(acknowledge, queue, to_delete.clone())
                    for _ in range(config.completion.fetchers):
                        hearing.start_soon(
                            joiner.run, to_join.clone(), settlements.clone(), receipts.clone()
                        )
                    for stream in (claims, to_join, receipts, to_delete):
                        stream.close()
                    meter.phase = "running"
                    async with settlements, anyio.create_task_group() as head:
                        head.start_soon(departures.run, intents, drained)
                        for _ in range(config.limits.concurrency):
                            head.start_soon(sender.run, to_send.clone(), settlements.clone())
                        to_send.close()
                        await self._use_up(intake, sender, settlements)
                        departures.close()
                    hearing.cancel_scope.cancel()
            await self.source.finish()
            await staging.disposal.finish()
            everything.cancel_scope.cancel()
        if self._signal is None:
            await ledger.remember(finished="yes")
        meter.phase = "ended"
        return RunResult(self._signal, ledger.outstanding)

    async def _use_up(
        self,
        intake: Intake,
        sender: Sender,
        settlements: MemoryObjectSendStream[list[Settlement]],
    ) -> None:
        """Return when the source has ended and nothing is outstanding any more."""
        await intake.run()
        await self.ledger.idle()
        await sender.conclude(settlements)
        await self.ledger.idle()

    async def _heed_signals(
        self, intake: Intake, departures: ResendQueue, wire: SenderState, everything: TaskGroup
    ) -> None:
        """Drain after the first signal, within the time for it; stop at once after the second."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for received in signals:
                if self._signal is not None:
                    everything.cancel_scope.cancel()
                    return
                self._signal = received
                self.meter.phase = "draining"
                wire.is_stopping = True
                self.source.stop()
                intake.stop()
                departures.stop()
                everything.start_soon(self._stop_after_drain, everything)

    async def _stop_after_drain(self, everything: TaskGroup) -> None:
        await anyio.sleep(self.config.limits.drain)
        everything.cancel_scope.cancel()
