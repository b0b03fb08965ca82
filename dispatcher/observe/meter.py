"""What is counted while a run goes on. Plain numbers: the rooms move them after the fact."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dispatcher.observe.histogram import Histogram

Phase: TypeAlias = Literal["starting", "running", "draining", "ended"]


@dataclass(slots=True)
class Meter:
    """Counters, levels and latencies of one run.

    ``read``, ``completed``, ``dead``, ``dead_reasons``, ``repeated``, ``split`` and ``parts`` count
    the whole run, over restarts; all else counts this process. Latencies are in seconds.

    Attributes:
        phase: Where the run stands.
        read: Records read, each once, however often a restart reads it again.
        completed: Records with an output in the sink.
        dead: Records in the dead letters, and by reason in ``dead_reasons``.
        resumed_from: Records that earlier processes of this run had settled.
        invocations: Invocations planned, by route (``inline``, ``s3``).
        records: Records planned, by route.
        payload_bytes: Bytes of planned payloads, by route.
        calls: Finished HTTP attempts of InvokeEndpointAsync: ``accepted``, ``throttled``,
            ``transient``, ``unknown``, ``rejected``, ``denied``.
        on_wire: Calls under way now.
        outstanding: Invocations without an outcome now.
        repeated: Invocations that may have reached the service more than once, over restarts.
        retried: Invocations that failed and were made anew, by reason.
        split: Failed invocations of several records that were split, over restarts.
        parts: Invocations that were made of their parts, over restarts: what it cost.
        staged: Payloads too large for inline: ``uploaded`` to S3, ``found`` there from before,
            ``shared`` with another of the same content; and objects ``deleted`` again, or not
            (``deletion_denied``, ``deletion_failed``).
        events: Messages of the queue: ``matched``, ``duplicate``, ``foreign``, ``malformed``,
            ``test``.
        troubles: Failed calls of the completion side, by error code.
        looks: S3 requests of the sweeper: ``list``, ``head``; ``found`` completions; and times that
            events were ``silent``.
        call_latency: One accepted call.
        completion_latency: From accepted to settled.
        service_latency: The service's own queue and model time, from the events.
        bytes_expected: Size of the input where it is known, else None; for the ETA.
        bytes_read: Bytes of the input behind the reader (compressed files: of the file).
    """

    phase: Phase = "starting"
    read: int = 0
    completed: int = 0
    dead: int = 0
    dead_reasons: Counter[str] = field(default_factory=Counter)
    resumed_from: int = 0
    invocations: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    payload_bytes: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    on_wire: int = 0
    outstanding: int = 0
    repeated: int = 0
    retried: Counter[str] = field(default_factory=Counter)
    split: int = 0
    parts: int = 0
    staged: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    looks: Counter[str] = field(default_factory=Counter)
    call_latency: Histogram = field(default_factory=Histogram)
    completion_latency: Histogram = field(default_factory=Histogram)
    service_latency: Histogram = field(default_factory=Histogram)
    bytes_expected: int | None = None
    bytes_read: int = 0
