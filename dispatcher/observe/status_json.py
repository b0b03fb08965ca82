"""The document under /status.json: the numbers of the display, and the counters of the meter."""

import dataclasses

import orjson

from dispatcher.observe.meter import Meter
from dispatcher.observe.run_snapshot import Pace, take


def status_json(meter: Meter, now: float, pace: Pace) -> bytes:
    """Return the status of a run as one JSON object.

    Args:
        meter: The run's counters.
        now: Seconds on the clock that ``pace`` was started with.
        pace: The memory of the displayed rate; it moves on.
    """
    return orjson.dumps(
        {
            **dataclasses.asdict(take(meter, now, pace)),
            "resumed_from": meter.resumed_from,
            "dead_reasons": dict(meter.dead_reasons),
            "invocations": dict(meter.invocations),
            "payload_bytes": dict(meter.payload_bytes),
            "calls": dict(meter.calls),
            "repeated": meter.repeated,
            "events": dict(meter.events),
            "failed_requests": dict(meter.failed_requests),
            "sweep_requests": dict(meter.sweep_requests),
            "sweep_completions": meter.sweep_completions,
            "event_outages": meter.event_outages,
            "staged": dict(meter.staged),
            "bytes_expected": meter.bytes_expected,
            "bytes_read": meter.bytes_read,
        }
    )
