"""Prometheus metrics: the meter of a run, read when it is scraped."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from dispatcher.observe.histogram import Histogram
from dispatcher.observe.meter import Meter

CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds: an HTTP call, from loopback to a read timeout."""

COMPLETION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 10_800, 25_200)
"""Upper bounds in seconds: an inference, up to the longest TTL and timeout (7 h)."""

_PHASES = ("starting", "running", "draining", "ended")


def make_registry(meter: Meter) -> CollectorRegistry:
    """Return a registry for one run alone, so that runs in one process do not collide."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MeterCollector(meter))
    return registry


class MeterCollector(Collector):
    """Turns a meter into metrics; costs nothing between scrapes."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the run."""
        meter = self._meter
        yield _counter("records_read", "Records read, over restarts of the run.", meter.read)
        yield _counter("records_completed", "Records with an output.", meter.completed)
        yield _labelled(
            "records_dead", "Records in the dead letters.", "reason", meter.dead_reasons
        )
        yield _labelled("invocations", "Invocations planned.", "route", meter.invocations)
        yield _labelled("records_planned", "Records in planned payloads.", "route", meter.records)
        yield _labelled("payload_bytes", "Bytes planned.", "route", meter.payload_bytes)
        yield _labelled("calls", "Finished calls of InvokeEndpointAsync.", "result", meter.calls)
        yield _counter(
            "invocations_repeated", "Invocations perhaps accepted more than once.", meter.repeated
        )
        yield _labelled(
            "invocations_retried",
            "Failed invocations invoked again.",
            "reason",
            meter.retried,
        )
        yield _counter("invocations_split", "Failed invocations split into parts.", meter.split)
        yield _counter("split_parts", "Invocations made of parts.", meter.parts)
        yield _labelled("events", "Messages of the completion queue.", "kind", meter.events)
        yield _labelled(
            "failed_requests",
            "Failed requests of the completion side and of queues.",
            "code",
            meter.failed_requests,
        )
        yield _labelled(
            "sweep_requests", "Requests of the sweep to S3.", "operation", meter.sweep_requests
        )
        yield _counter(
            "sweep_completions", "Completions found without an event.", meter.sweep_completions
        )
        yield _counter("event_outages", "Times that events stopped.", meter.event_outages)
        yield _labelled("staged_objects", "Payloads in S3, by action.", "action", meter.staged)
        yield _gauge("calls_on_wire", "Calls under way.", meter.on_wire)
        yield _gauge("invocations_outstanding", "Without an outcome.", meter.outstanding)
        yield _gauge("input_read_bytes", "Bytes of the input read.", meter.bytes_read)
        if meter.bytes_expected is not None:
            yield _gauge("input_bytes", "Size of the input.", meter.bytes_expected)
        yield _phase(meter)
        yield _histogram("call", "Accepted calls.", meter.call_latency, CALL_BUCKETS)
        yield _histogram(
            "completion", "From accepted to settled.", meter.completion_latency, COMPLETION_BUCKETS
        )
        yield _histogram(
            "service", "Queue and model time.", meter.service_latency, COMPLETION_BUCKETS
        )


def _counter(name: str, help_text: str, value: int) -> Metric:
    return CounterMetricFamily(f"dispatcher_{name}", help_text, value=value)


def _labelled(name: str, help_text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"dispatcher_{name}", help_text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _gauge(name: str, help_text: str, value: int) -> Metric:
    return GaugeMetricFamily(f"dispatcher_{name}", help_text, value=value)


def _phase(meter: Meter) -> Metric:
    family = GaugeMetricFamily(
        "dispatcher_phase", "1 for the phase the run is in.", labels=["phase"]
    )
    for phase in _PHASES:
        family.add_metric([phase], float(phase == meter.phase))
    return family


def _histogram(
    name: str, help_text: str, histogram: Histogram, bounds: tuple[float, ...]
) -> Metric:
    family = HistogramMetricFamily(f"dispatcher_{name}_seconds", f"{help_text} In seconds.")
    buckets = [(f"{bound:g}", float(histogram.at_most(bound))) for bound in bounds]
    family.add_metric([], [*buckets, ("+Inf", float(histogram.count))], histogram.total)
    return family
