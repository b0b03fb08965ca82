"""The meter: counters, levels and latencies of a run, moved by its events."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from dispatcher.observe.events import (
    CallFinished,
    CompletionFound,
    CompletionsHeard,
    Event,
    EventOutageBegan,
    EventOutageEnded,
    InvocationRepeated,
    InvocationRetried,
    InvocationsPlanned,
    InvocationSplit,
    InvocationsSettled,
    PayloadStaged,
    Phase,
    PhaseChanged,
    RecordsRejected,
    RunStarted,
    SweepRequested,
)
from dispatcher.observe.histogram import Histogram
from dispatcher.retry.outage_timer import RequestFailed, TroubleBegan, TroubleEnded

_Total: TypeAlias = Counter[str]


class Levels(Protocol):
    """Numbers that rise and fall, read from their owners when they are shown."""

    @property
    def on_wire(self) -> int:
        """Calls under way."""

    @property
    def outstanding(self) -> int:
        """Invocations without an outcome."""

    @property
    def bytes_read(self) -> int:
        """Bytes of the input behind the reader (compressed files: of the file)."""


@dataclass(slots=True)
class FixedLevels:
    """Levels of a run that has not begun."""

    on_wire: int = 0
    outstanding: int = 0
    bytes_read: int = 0


@dataclass(slots=True, kw_only=True)
class Meter:
    """Counters, levels and latencies of one run; ``observe`` is an ``Observer``.

    ``read``, ``completed``, ``dead``, ``dead_reasons``, ``repeated``, ``split`` and ``parts`` count
    the whole run, over restarts; all else counts this process. Latencies are in seconds.

    Attributes:
        phase: Where the run stands.
        levels: Where levels are read.
        read: Records read, each once, however often a restart reads it again.
        completed: Records with an output in the sink.
        dead: Records in the dead letters, and by reason in ``dead_reasons``.
        resumed_from: Records that earlier processes of this run had settled.
        invocations: Invocations planned, by route (``inline``, ``s3``).
        records: Records planned, by route.
        payload_bytes: Bytes of planned payloads, by route.
        calls: Finished HTTP attempts of InvokeEndpointAsync, by ``CallResult``.
        repeated: Invocations that may have reached the service more than once, over restarts.
        retried: Failed invocations that were replaced by one of the same records, by reason.
        split: Failed invocations of several records that were split, over restarts.
        parts: Invocations that were made of their parts, over restarts: the cost of splitting.
        staged: Payloads too large for inline, by ``StagingAction``.
        events: Messages of the completion queue, by ``EventKind``.
        failed_requests: Failed requests of the completion side and of queues, by error code.
        sweep_requests: S3 requests of the sweep: ``list``, ``head``.
        sweep_completions: Completions that the sweep found before their event.
        event_outages: Times that completion events stopped.
        call_latency: One accepted call.
        completion_latency: From accepted to settled.
        service_latency: The service's own queue and model time, from the events.
        bytes_expected: Size of the input where it is known, else None; for the ETA.
    """

    phase: Phase = "starting"
    levels: Levels = field(default_factory=FixedLevels)
    read: int = 0
    completed: int = 0
    dead: int = 0
    dead_reasons: _Total = field(default_factory=Counter)
    resumed_from: int = 0
    invocations: _Total = field(default_factory=Counter)
    records: _Total = field(default_factory=Counter)
    payload_bytes: _Total = field(default_factory=Counter)
    calls: _Total = field(default_factory=Counter)
    repeated: int = 0
    retried: _Total = field(default_factory=Counter)
    split: int = 0
    parts: int = 0
    staged: _Total = field(default_factory=Counter)
    events: _Total = field(default_factory=Counter)
    failed_requests: _Total = field(default_factory=Counter)
    sweep_requests: _Total = field(default_factory=Counter)
    sweep_completions: int = 0
    event_outages: int = 0
    call_latency: Histogram = field(default_factory=Histogram)
    completion_latency: Histogram = field(default_factory=Histogram)
    service_latency: Histogram = field(default_factory=Histogram)
    bytes_expected: int | None = None

    @property
    def on_wire(self) -> int:
        """Calls under way now."""
        return self.levels.on_wire

    @property
    def outstanding(self) -> int:
        """Invocations without an outcome now."""
        return self.levels.outstanding

    @property
    def bytes_read(self) -> int:
        """Bytes of the input behind the reader."""
        return self.levels.bytes_read

    def freeze_levels(self) -> None:
        """Keep the levels as they are now: what they were read from is closed."""
        self.levels = FixedLevels(
            on_wire=self.on_wire, outstanding=self.outstanding, bytes_read=self.bytes_read
        )

    def observe(self, event: Event) -> None:
        """Take in an event; the most frequent kinds come first."""
        match event:
            case CallFinished(result, seconds):
                self.calls[result] += 1
                if result == "accepted":
                    self.call_latency.add(seconds)
            case CompletionsHeard(kinds, service_seconds):
                self.events.update(kinds)
                for seconds in service_seconds:
                    self.service_latency.add(seconds)
            case InvocationsSettled(completed, dead, latencies):
                self.completed += completed
                self.dead += dead.total()
                self.dead_reasons.update(dead)
                for seconds in latencies:
                    self.completion_latency.add(seconds)
            case InvocationsPlanned(invocations, records, payload_bytes):
                self.read += records.total()
                self.invocations.update(invocations)
                self.records.update(records)
                self.payload_bytes.update(payload_bytes)
            case SweepRequested(operation):
                self.sweep_requests[operation] += 1
            case CompletionFound():
                self.sweep_completions += 1
            case PayloadStaged(action):
                self.staged[action] += 1
            case RecordsRejected(rejected):
                self.read += rejected
            case InvocationRetried(reason):
                self.retried[str(reason)] += 1
            case InvocationSplit(parts):
                self.split += 1
                self.parts += parts
            case InvocationRepeated():
                self.repeated += 1
            case EventOutageBegan():
                self.event_outages += 1
            case PhaseChanged(phase):
                self.phase = phase
            case RunStarted():
                self._restore(event)
            case RequestFailed(_, code):
                self.failed_requests[code] += 1
            case EventOutageEnded() | TroubleBegan() | TroubleEnded():
                pass  # displays will show them; no counter moves

    def _restore(self, started: RunStarted) -> None:
        """Let the totals go on where earlier processes of this run left them."""
        self.completed = started.completed
        self.dead_reasons.update(started.dead)
        self.dead = self.dead_reasons.total()
        self.repeated, self.split, self.parts = started.repeated, started.split, started.parts
        self.resumed_from = self.completed + self.dead
        self.read = self.resumed_from + started.outstanding_records
        self.bytes_expected = started.bytes_expected
