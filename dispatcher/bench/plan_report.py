"""A plan as people read it, the important figure first."""

import math
from collections.abc import Iterator
from typing import Any

import orjson
from rich.text import Text

from dispatcher.bench.cost import PRICE_NAMES, Prices, Usage, bill, total
from dispatcher.bench.plan import Advice, Plan, Trial, codec_of
from dispatcher.bench.plan_extent import Extent
from dispatcher.bench.plan_tally import Spread
from dispatcher.observe import wording

_MILLION = 1_000_000
_BAR = 40
_MOST_STEPS = 9
_CHANGE_CHARS = 67
_PERCENTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
_ITEMS = {
    "s3_input_put": "S3 PUT of inputs",
    "s3_output_put": "S3 PUT of outputs",
    "s3_output_get": "S3 GET of outputs",
    "sns_publish": "SNS publish",
    "sqs": "SQS receive and delete",
    "kms": "KMS",
}


def report(plan: Plan, extent: Extent) -> Iterator[Text]:
    """Yield the plan line by line; the plain text of a line is what a file shows."""
    for line in _headline(plan, extent):
        yield Text(line, "bold")
    yield Text()
    yield from map(Text, wording.columns(list(_summary(plan, extent)), left=2))
    if not plan.sizes.count:
        return
    yield from _histogram(plan.sizes)
    yield from _cost(plan)
    yield from _trials(plan)
    yield from _advice(plan)


def _headline(plan: Plan, extent: Extent) -> Iterator[str]:
    scale = extent.scale or 1.0
    about = "" if extent.scale == 1.0 else "about " if extent.scale else "at least "
    requests, records = round(plan.tally.total * scale), round(plan.read * scale)
    yield f"{about}{_count(requests, 'request')} for {about}{_count(records, 'record')}"
    if plan.sizes.count:
        ours, classic = dollars(plan.dollars * scale), dollars(plan.classic_dollars * scale)
        yield f"{about}{ours}; an upload and a call for each record would cost {classic}"


def _summary(plan: Plan, extent: Extent) -> Iterator[list[str]]:
    tally = plan.tally
    read = f"{plan.read:,} of {wording.size(plan.sizes.total)}"
    if not extent.complete and extent.scale is None:
        read += ", the first part of the input; how much more there is, is not known"
    elif not extent.complete:
        assert extent.scale is not None
        read += f", {wording.percent(1 / extent.scale)} of the input: the totals are estimates"
    yield ["records", read]
    for route, way in (("inline", "inline"), ("s3", "through S3")):
        requests = tally.by_route(tally.requests, route)
        if requests or route == "inline":
            records = tally.by_route(tally.records, route)
            size = wording.size(tally.bytes[route])
            # Most are in the first encoding of the ladder; the others are worth telling.
            others = "".join(
                f"; {tally.requests[encoding, route]:,} as {encoding}"
                for encoding in plan.config.packing.encodings[1:]
                if tally.requests[encoding, route]
            )
            whole = f"{_count(requests, 'request')} with {_count(records, 'record')}, {size}"
            yield [way, whole + others]
    if tally.total:
        sizes = tally.sizes
        held = _count(sizes.largest, "record")
        if sizes.smallest < sizes.largest:
            held = f"{sizes.smallest:,} to {held}, median {sizes.percentile(0.5):,}"
        full = f"; inline ones are {wording.percent(tally.fill)} full" if tally.fill else ""
        yield ["a request", held + full]
    for reason, refusal in sorted(plan.refused.items(), key=lambda item: -item[1].records):
        message = refusal.message
        if not message.startswith(refusal.place):
            message = f"{refusal.place}: {message}"
        yield ["refused", f"{refusal.records:,} {reason}; the first, {message}"]


def _histogram(sizes: Spread) -> Iterator[Text]:
    steps = list(sizes.steps())
    if len(steps) > _MOST_STEPS:
        steps = _decades(steps)
    most = max(count for _, _, count in steps)
    told = [f"{name} {wording.size(sizes.percentile(share))}" for name, share in _PERCENTILES]
    told.append(f"max {wording.size(sizes.largest)}")
    rows = [
        [f"below {wording.size(high)}", f"{count:,}", "#" * math.ceil(_BAR * count / most)]
        for _, high, count in steps
    ]
    yield Text()
    yield Text(f"record size   {'   '.join(told)}", "dim")
    for label, count, bar in rows:
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        yield Text(f"{label:>{widths[0]}}  {count:>{widths[1]}}  {bar}".rstrip())


def _decades(steps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Join steps of 1, 2, 5 to steps of ten."""
    joined: dict[int, tuple[int, int, int]] = {}
    for low, _, count in steps:
        decade = 10 ** (len(str(low)) - 1) if low else 0
        joined[decade] = (decade, max(10 * decade, 1), joined.get(decade, (0, 0, 0))[2] + count)
    return list(joined.values())


def _cost(plan: Plan) -> Iterator[Text]:
    used, classic = plan.tally.usage(plan.assumed), plan.classic.usage()
    sent, all_records = plan.tally.sizes.total, plan.sizes.count
    rows = [["cost per million records", "this", "classic"]]
    pairs = zip(bill(used, plan.prices), bill(classic, plan.prices), strict=True)
    for ours, theirs in pairs:
        if ours.count or theirs.count:
            rows.append(
                [
                    _ITEMS[ours.item],
                    dollars(_each(ours.dollars, sent)),
                    dollars(_each(theirs.dollars, all_records)),
                ]
            )
    rows.append(
        [
            "all, without instances",
            dollars(_each(total(used, plan.prices), sent)),
            dollars(_each(total(classic, plan.prices), all_records)),
        ]
    )
    yield from _table(rows)
    given = {name for name in PRICE_NAMES if getattr(plan.prices, name) != getattr(Prices(), name)}
    usual = "prices of us-east-1, 2026: check before quoting"
    yield Text(f"{usual}; given: {', '.join(sorted(given))}" if given else usual, "dim")
    if not plan.assumed.events:
        yield Text("without completion.queue_url: looks into S3 are not counted", "dim")


def _trials(plan: Plan) -> Iterator[Text]:
    """Yield the ways that were tried, those together that make no difference."""
    if len(plan.trials) < 2:
        return
    part = "" if plan.tried_records == plan.sizes.count else f" the first {plan.tried_records:,}"
    rows = [[f"tried{part}", "requests", "inline", "S3", "refused", "per million"]]
    now, *others = plan.trials
    rows.append([f"{_named(now.way.framed, now.way.encoded)} (now)", *_cells(now)])
    same: dict[tuple[str, ...], list[str]] = {}
    for trial in others:
        same.setdefault((trial.way.framed, *_cells(trial)), []).append(trial.way.encoded)
    rows += [[_named(framed, _joined(names)), *cells] for (framed, *cells), names in same.items()]
    if not any(trial.tally.refused_records for trial in plan.trials):
        for row in rows:
            del row[4]
    yield from _table(rows)


def _named(framed: str, encoded: str) -> str:
    return f"{framed}: {encoded}" if framed else encoded


def _joined(names: list[str]) -> str:
    """Name encodings that make no difference; gzip is not named where zstd is."""
    return ", ".join(
        name
        for name in names
        if not name.endswith("+gzip") or name.replace("gzip", "zstd") not in names
    )


def _cells(trial: Trial) -> Iterator[str]:
    tally = trial.tally
    yield f"{tally.total:,}"
    yield f"{tally.by_route(tally.requests, 'inline'):,}"
    yield f"{tally.by_route(tally.requests, 's3'):,}"
    yield f"{tally.refused_records:,}"
    yield dollars(trial.dollars_each * _MILLION) if trial.records else "-"


def _advice(plan: Plan) -> Iterator[Text]:
    yield Text()
    missing = plan.tally.refused.get("no_staging")
    if missing is not None:
        yield Text("recommended  staging: {bucket: ...}", "bold")
        yield Text(f"saves        {_count(missing.records, 'record')} from the dead letters")
    advice, lighter = plan.advice(), plan.lighter()
    if advice is not None:
        yield from _change("recommended", advice)
        yield Text(f"saves        {_saving(advice)}")
        yield from _container(plan, advice)
    elif missing is None and len(plan.trials) < 2:
        yield Text("recommended  nothing: these records cannot be packed in another way")
    elif missing is None:
        yield Text("recommended  nothing: no other packing that was tried saves enough to change")
    if lighter is not None and (advice is None or advice.trial is not lighter.trial):
        yield from _change("lighter", lighter)
        yield Text(
            f"saves        {wording.percent(lighter.lighter)} of the bytes: "
            "files travel as they are, not in base64"
        )
        yield from _container(plan, lighter)


def _saving(advice: Advice) -> str:
    now, then = advice.now, advice.trial
    each = f"{dollars(then.dollars_each * _MILLION)} per million records"
    usual = dollars(now.dollars_each * _MILLION)
    fewer = f"{_count(then.tally.total, 'request')}, not {now.tally.total:,}"
    return f"{fewer}; {each}, not {usual}"


def _container(plan: Plan, advice: Advice) -> Iterator[Text]:
    """Yield what the container has to understand after a change."""
    packing, most = advice.trial.way.packing, advice.trial.tally.sizes.largest
    seen = " or ".join(content_types(plan, advice.trial))
    yield Text(f"container    must understand {seen},")
    if packing.framing != "none":
        yield Text(
            f"{'':13}up to {_count(most, 'record')} ({packing.framing}), one output for each"
        )
    elif advice.trial.way.unwraps:
        yield Text(f"{'':13}the decoded bytes and nothing else of the record")
    else:
        yield Text(f"{'':13}one record each as now")


def _change(label: str, advice: Advice) -> Iterator[Text]:
    """Yield the change as YAML, with a break where it would be too long for a terminal."""
    sections: dict[str, list[str]] = {}
    for key, value in advice.trial.way.changes.items():
        section, name = key.split(".")
        sections.setdefault(section, []).append(f"{name}: {_yaml(value)}")
    lines = []
    for section, keys in sections.items():
        lines.append(f"{section}: {{{', '.join(keys)}}}")
        if len(lines[-1]) > _CHANGE_CHARS:
            lines[-1:] = [f"{section}: {{{', '.join(keys[:-1])},", f"{'':10}{keys[-1]}}}"]
    for line in lines:
        yield Text(f"{label:11}  {line}", "bold")
        label = ""


def _yaml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    if isinstance(value, str) and not value.replace("-", "").replace("+", "").isalnum():
        return "'" + value.replace("'", "''") + "'"
    return "null" if value is None else str(value)


def content_types(plan: Plan, trial: Trial) -> list[str]:
    """Return what the container is told of the payloads of a way, one for each encoding."""
    codec = codec_of(plan.config, trial.way)
    return [codec.content_type(encoding) for encoding in codec.encodings]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _table(rows: list[list[str]]) -> Iterator[Text]:
    yield Text()
    heading, *body = wording.columns(rows)
    yield Text(heading, "dim")
    yield from map(Text, body)


def _each(amount: float, records: int) -> float:
    return amount / records * _MILLION if records else 0.0


def dollars(amount: float) -> str:
    """Write an amount with cents, and what is less than a dollar with two digits."""
    if amount == 0:
        return "$0"
    if amount >= 0.995:
        return f"${amount:,.2f}"
    digits = 1 - math.floor(math.log10(amount))
    if digits > 7:
        return "<$0.000001"
    text = f"{amount:.{max(digits, 2)}f}"
    return f"${text.removesuffix('0') if digits > 2 else text}"


def report_json(plan: Plan, extent: Extent) -> str:
    """Return the plan as one JSON document; docs/plan.md names its fields."""
    tally, sizes = plan.tally, plan.sizes
    advice, lighter = plan.advice(), plan.lighter()
    document = {
        "records": plan.read,
        "bytes": sizes.total,
        "complete": extent.complete,
        "scale": extent.scale,
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
            "dollars": plan.dollars,
            "classic_dollars": plan.classic_dollars,
            "items": _bill(plan, tally.usage(plan.assumed)),
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
        **{name: spread.percentile(share) for name, share in _PERCENTILES},
        "max": spread.largest,
        "mean": round(spread.mean, 2),
    }


def _bill(plan: Plan, used: Usage) -> dict[str, dict[str, float]]:
    return {
        line.item: {"units": round(line.count, 3), "dollars": line.dollars}
        for line in bill(used, plan.prices)
    }


def _tried(plan: Plan, trial: Trial) -> dict[str, Any]:
    tally = trial.tally
    return {
        "set": dict(trial.way.changes),
        "encodings": trial.way.packing.encodings,
        "framing": trial.way.packing.framing,
        "max_records": trial.way.packing.max_records,
        "content_types": content_types(plan, trial),
        "requests": {
            "total": tally.total,
            **{route: tally.by_route(tally.requests, route) for route in ("inline", "s3")},
        },
        "records": {route: tally.by_route(tally.records, route) for route in ("inline", "s3")},
        "refused": tally.refused_records,
        "bytes": {route: tally.bytes[route] for route in ("inline", "s3")},
        "dollars_per_million_records": trial.dollars_each * _MILLION,
    }
