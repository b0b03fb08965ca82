"""The pipeline: the stages of a run, the streams between them, and the end of a run.

::

    source -> intake -> [ledger: planned] -> senders -> (service)
                 resend queue ----------------^            |
                     ^                                     |
    sinks <- settler <- joiners <- listeners (events) <----+
                ^          ^------ sweeper (S3) <----------'
      [ledger: settled] -> acknowledge (completion queue, source)

The resend queue holds what is planned already: invocations that earlier processes left, and new
attempts for what the joiners found failed. A run ends by closing its head: the intake stops, what
is outstanding completes, and each stage ends when the stage before it has. After a signal that may
take ``limits.drain``; past it the rest is cancelled, and the ledger makes that safe.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import anyio

from dispatcher.aws.preflight import probe
from dispatcher.aws.session import Access
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.completion.listener import acknowledge
from dispatcher.config.settings import Config
from dispatcher.connectors.files.source import must_be_json
from dispatcher.connectors.open_sinks import open_sinks
from dispatcher.connectors.open_source import open_source
from dispatcher.connectors.sqs import sink as sqs_sink
from dispatcher.connectors.sqs import source as sqs_source
from dispatcher.environment import Environment
from dispatcher.errors import Denied
from dispatcher.ledger.ledger import REPEATED, Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.replacement import PARTS, SPLIT
from dispatcher.observe.events import Observer, PhaseChanged, RunStarted
from dispatcher.observe.meter import Meter
from dispatcher.packing.codec import Codec
from dispatcher.retry.outage_timer import OutageTimer
from dispatcher.run.compatibility import check_compatible, payload_settings, run_settings
from dispatcher.run.wiring import Opened, RunLevels, Stages, build

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Transport]]
"""Opens the calls to AWS."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The end of a run.

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
        config: The configuration.
        meter: Observes the run.
        access: Calls this instead of what the environment says.
        force: Go on although the configuration changed in what the run agreed on.
        environment: Clocks and random numbers; the real ones by default.
        connect: Opens the calls to AWS; by default as the configuration and ``access`` say.

    Raises:
        ConfigError: The configuration cannot be run as it is.
        RunStopped: A person has to correct something; the state is kept.
    """
    environment = environment or Environment()
    codec = Codec(
        config.packing,
        content_type=config.request.content_type,
        json_source=must_be_json(config.source, config.packing),
    )
    async with AsyncExitStack() as stack:
        connection = connect() if connect is not None else _connect(config, access)
        transport = await stack.enter_async_context(connection)
        opened = await _open(
            stack,
            config,
            codec=codec,
            transport=transport,
            observe=meter.observe,
            environment=environment,
            force=force,
        )
        stages = build(config, opened, observe=meter.observe, environment=environment)
        ledger = opened.ledger
        meter.levels = RunLevels(senders=stages.sender_state, ledger=ledger, source=opened.source)
        stack.callback(meter.freeze_levels)
        meter.observe(_started(opened))
        await _dispatch(config, opened, stages, meter.observe)
        if stages.shutdown.received is None:
            await ledger.remember(finished="yes")
        meter.observe(PhaseChanged("ended"))
        return RunResult(stages.shutdown.received, ledger.outstanding)


async def _open(
    stack: AsyncExitStack,
    config: Config,
    *,
    codec: Codec,
    transport: Transport,
    observe: Observer,
    environment: Environment,
    force: bool,
) -> Opened:
    """Open ledger, source and sinks; they are closed with the stack."""
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

    def outage_timer(symptom: str) -> OutageTimer:
        seconds, monotonic = config.retry.give_up_after, environment.monotonic
        return OutageTimer(seconds, monotonic, symptom, observe=observe)

    source = open_source(
        source=config.source,
        packing=config.packing,
        ledger_path=Path(config.ledger.path),
        queue=transport.queue,
        message_log=ledger.messages,
        outage_timer=outage_timer,
        environment=environment,
    )
    stack.push_async_callback(source.aclose)
    check_compatible(config, ledger, force=force)
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
            outage_timer=outage_timer,
            rng=environment.rng,
        )
    )
    # Only now: what could not even be opened may be corrected in the next command.
    await ledger.remember(
        terms=run_settings(config),
        packing=payload_settings(config),
        heads=json.dumps(heads),
        finished="no",
    )
    return Opened(
        ledger=ledger,
        codec=codec,
        transport=transport,
        source=source,
        results=results,
        dead_letters=dead_letters,
    )


async def _dispatch(config: Config, opened: Opened, stages: Stages, observe: Observer) -> None:
    """Run the stages to their end, the head first.

    Three task groups stand inside each other, because they end one after the other: the head
    (intake, senders), the completion side (listeners, sweeper, joiners), the tail (settler).
    """
    channels, queue, shutdown = stages.channels, stages.event_queue, stages.shutdown
    async with anyio.create_task_group() as everything:
        everything.start_soon(shutdown.handle_signals, everything)
        for task in (opened.ledger.flush_forever, opened.source.run, stages.staging.cleanup.run):
            everything.start_soon(task)
        async with anyio.create_task_group() as tail:
            tail.start_soon(stages.settler.run, channels.to_settle, channels.receipts.clone())
            async with anyio.create_task_group() as completion:
                completion.start_soon(stages.sweeper.run, channels.claims.clone(), stages.drained)
                if stages.listener is not None and queue is not None:
                    for _ in range(config.completion.listeners):
                        completion.start_soon(
                            stages.listener.run, channels.claims.clone(), channels.receipts.clone()
                        )
                        tail.start_soon(acknowledge, queue, channels.to_delete.clone())
                for _ in range(config.completion.fetchers):
                    completion.start_soon(
                        stages.joiner.run,
                        channels.to_join.clone(),
                        channels.settlements.clone(),
                        channels.receipts.clone(),
                    )
                channels.claims.close()
                channels.to_join.close()
                channels.receipts.close()
                channels.to_delete.close()
                observe(PhaseChanged("running"))
                async with channels.settlements, anyio.create_task_group() as head:
                    head.start_soon(stages.resend.run, channels.intents, stages.drained)
                    for _ in range(config.limits.concurrency):
                        head.start_soon(
                            stages.sender.run,
                            channels.to_send.clone(),
                            channels.settlements.clone(),
                        )
                    channels.to_send.close()
                    await _run_to_end(opened.ledger, stages)
                    stages.resend.close()
                completion.cancel_scope.cancel()
        await opened.source.finish()
        await stages.staging.cleanup.finish()
        everything.cancel_scope.cancel()


async def _run_to_end(ledger: Ledger, stages: Stages) -> None:
    """Return when the source has ended and nothing is outstanding any more."""
    await stages.intake.run()
    await ledger.wait_until_idle()
    await stages.held_refusals.conclude(stages.channels.settlements)
    await ledger.wait_until_idle()


@asynccontextmanager
async def _connect(config: Config, access: Access | None) -> AsyncIterator[Transport]:
    """Open the transport, and check queues and bucket before anything is read."""
    connections = config.limits.concurrency + config.completion.fetchers
    connections += 2 * config.completion.listeners + config.source.receivers
    connections += sqs_source.CALLS + 2 * sqs_sink.CALLS
    async with open_transport(config.aws, connections=connections, access=access) as transport:
        for finding in (
            *await probe.check_queues(transport.clients, config),
            await probe.check_bucket(
                transport.clients, config.staging.bucket, config.staging.prefix
            ),
        ):
            if finding.ok is False:
                raise Denied(finding.detail)
        yield transport


def _started(opened: Opened) -> RunStarted:
    """Return the totals that earlier processes of this run left."""
    ledger = opened.ledger
    tallies = ledger.tallies
    return RunStarted(
        completed=tallies.get("completed", 0),
        dead={
            name.removeprefix("dead:"): records
            for name, records in tallies.items()
            if name.startswith("dead:")
        },
        outstanding_records=ledger.outstanding_records,
        repeated=tallies.get(REPEATED, 0),
        split=tallies.get(SPLIT, 0),
        parts=tallies.get(PARTS, 0),
        bytes_expected=opened.source.bytes_expected,
    )
