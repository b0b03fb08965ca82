"""The meter as Prometheus metrics."""

from dispatcher.observe.meter import Meter
from dispatcher.observe.metrics import CALL_BUCKETS, COMPLETION_BUCKETS, MeterCollector


def test_bounds_ascend() -> None:
    assert list(CALL_BUCKETS) == sorted(set(CALL_BUCKETS))
    assert list(COMPLETION_BUCKETS) == sorted(set(COMPLETION_BUCKETS))


def test_every_counter_of_the_meter_is_a_metric() -> None:
    meter = Meter(bytes_expected=1)
    names = " ".join(metric.name for metric in MeterCollector(meter).collect())
    for part in ("read", "completed", "dead", "repeated", "outstanding", "on_wire", "events"):
        assert part in names
