"""The meter as Prometheus metrics."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.observe.meter import FixedLevels, Meter
from dispatcher.observe.metrics import (
    CALL_BUCKETS,
    COMPLETION_BUCKETS,
    MeterCollector,
    make_registry,
)


def test_bounds_ascend() -> None:
    assert list(CALL_BUCKETS) == sorted(set(CALL_BUCKETS))
    assert list(COMPLETION_BUCKETS) == sorted(set(COMPLETION_BUCKETS))


def test_every_counter_of_the_meter_is_a_metric() -> None:
    meter = Meter(bytes_expected=1)
    names = " ".join(metric.name for metric in MeterCollector(meter).collect())
    for part in ("read", "completed", "dead", "repeated", "outstanding", "on_wire", "events"):
        assert part in names


def samples(meter: Meter) -> dict[tuple[str, ...], float]:
    """Return what a scrape reads, by the name of a sample and its labels."""
    text = generate_latest(make_registry(meter)).decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_scrape_shows_counters_levels_and_the_phase() -> None:
    meter = Meter(phase="running", read=10, completed=7, dead=1, levels=FixedLevels(outstanding=2))
    meter.dead_reasons["bad_json"] = 1
    meter.calls.update(accepted=9, throttled=4)
    meter.split, meter.parts = 5, 15
    scraped = samples(meter)
    assert scraped["dispatcher_records_read_total",] == 10
    assert scraped["dispatcher_records_dead_total", "bad_json"] == 1
    assert scraped["dispatcher_calls_total", "throttled"] == 4
    assert scraped["dispatcher_invocations_split_total",] == 5
    assert scraped["dispatcher_split_parts_total",] == 15
    assert scraped["dispatcher_invocations_outstanding",] == 2
    assert scraped["dispatcher_phase", "running"] == 1
    assert scraped["dispatcher_phase", "ended"] == 0


def test_a_scrape_shows_latencies_in_cumulative_buckets() -> None:
    meter = Meter()
    meter.call_latency.add(0.02)
    meter.call_latency.add(3.0)
    scraped = samples(meter)
    assert scraped["dispatcher_call_seconds_bucket", "0.01"] == 0
    assert scraped["dispatcher_call_seconds_bucket", "0.05"] == 1
    assert scraped["dispatcher_call_seconds_bucket", "+Inf"] == 2
    assert scraped["dispatcher_call_seconds_count",] == 2
    assert scraped["dispatcher_call_seconds_sum",] == pytest.approx(3.02)
