"""A plan as one JSON document."""

from dataclasses import asdict
from typing import Any

import orjson

from dispatcher.plan.cost import Usage, bill, total
from dispatcher.plan.planner import DryRun, Trial, content_types
from dispatcher.plan.tally import PERCENTILES, Spread


def report_json(plan: DryRun) -> str:
    """Return the plan as one JSON document; docs/plan.md names its fields."""
    tally, sizes, used = plan.tally, plan.sizes, plan.tally.usage(plan.assumed)
    advice, lighter = plan.advice(), plan.lighter()
    document = {
        "records": plan.read,
        "bytes": sizes.total,
        "complete": plan.extent.complete,
        "scale": plan.extent.scale,
        "estimate": None if plan.estimate is None else asdict(plan.estimate),
        "record_bytes": _spread(sizes),
        "histogram": [
            {"from": low, "below": high, "records": count} for low, high, count in sizes.steps()
        ],
        "requests": {
            "total": tally.total,
            **{route: tally.by_route(tally.requests, route) for route in ("inline", "s3")},
            "records": {route: tally.by_route(tally.records, route) for route in ("inline", "s3")},
            "bytes": {route: tally.bytes[route] for route in ("inline", "s3")},
            "encodings": {
                encoding: {route: tally.requests[encoding, route] for route in ("inline", "s3")}
                for encoding in plan.config.packing.encodings
            },
            "content_types": dict(tally.content_types),
            "records_per_request": _spread(tally.sizes),
            "fill": round(tally.fill, 4),
        },
        "refused": [
            {
                "reason": reason,
                "records": refusal.records,
                "place": refusal.place,
                "message": refusal.message,
            }
            for reason, refusal in plan.refused.items()
        ],
        "cost": {
            "dollars": total(used, plan.prices),
            "classic_dollars": plan.classic_dollars,
            "items": _bill(plan, used),
            "classic_items": _bill(plan, plan.classic.usage()),
        },
        "tried_records": plan.tried_records,
        "tried": [_tried(plan, trial) for trial in plan.trials],
        "recommendation": None
        if advice is None
        else {**_tried(plan, advice.trial), "saving": round(advice.saving, 4)},
        "lighter": None
        if lighter is None
        else {**_tried(plan, lighter.trial), "saving": round(lighter.lighter, 4)},
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def _spread(spread: Spread) -> dict[str, float]:
    return {
        "min": spread.smallest,
        **{name: spread.percentile(share) for name, share in PERCENTILES},
        "max": spread.largest,
        "mean": round(spread.mean, 2),
    }


def _bill(plan: DryRun, used: Usage) -> dict[str, dict[str, float]]:
    return {
        line.item: {"units": round(line.count, 3), "dollars": line.dollars}
        for line in bill(used, plan.prices)
    }


def _tried(plan: DryRun, trial: Trial) -> dict[str, Any]:
    tally = trial.tally
    return {
        "set": dict(trial.alternative.changes),
        "encodings": trial.alternative.packing.encodings,
        "framing": trial.alternative.packing.framing,
        "max_records": trial.alternative.packing.max_records,
        "content_types": content_types(plan.config, trial.alternative),
        "requests": {
            "total": tally.total,
            **{route: tally.by_route(tally.requests, route) for route in ("inline", "s3")},
        },
        "records": {route: tally.by_route(tally.records, route) for route in ("inline", "s3")},
        "refused": tally.refused_records,
        "bytes": {route: tally.bytes[route] for route in ("inline", "s3")},
        "dollars_per_million_records": trial.dollars_each * 1_000_000,
    }
