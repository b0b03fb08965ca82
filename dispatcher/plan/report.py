"""The plan report for people, with the most important figure first."""

import math
import textwrap
from collections.abc import Iterator

from rich.text import Text

from dispatcher.observe import number_format
from dispatcher.plan.cost import PRICE_NAMES, Prices, bill, total
from dispatcher.plan.planner import Advice, DryRun, Trial, content_types
from dispatcher.plan.tally import PERCENTILES, Spread

_COLUMNS = 80
"""Width of every line, on a terminal or not; text for copying is not broken."""

_MILLION = 1_000_000
_LABEL = 13
_SURE_RECORDS = 1_000
_SURER_RECORDS = 10_000
"""Records of a sample from which totals are close, and from which they have three digits."""

_BAR = 40
_MAX_STEPS = 9
_ITEMS = {
    "s3_input_put": "S3 PUT of inputs",
    "s3_output_put": "S3 PUT of outputs",
    "s3_output_get": "S3 GET of outputs",
    "sns_publish": "SNS publish",
    "sqs": "SQS receive and delete",
    "kms": "KMS",
}


def report(plan: DryRun) -> Iterator[Text]:
    """Yield the plan line by line; the plain text of a line is what a file shows."""
    if not plan.read and not plan.extent.complete:
        yield Text("nothing was read", "bold")
        return
    for line in _headline(plan):
        yield from _wrapped(line, style="bold")
    yield Text()
    rows = list(_summary(plan))
    width = max(len(label) for label, _ in rows) + 2
    for label, text in rows:
        yield from _wrapped(text, label=label, width=width)
    if not plan.sizes.count:
        return
    yield from _histogram(plan.sizes)
    yield from _cost(plan)
    yield from _trials(plan)
    yield from _advice(plan)


def _wrapped(text: str, *, label: str = "", width: int = 0, style: str = "") -> Iterator[Text]:
    """Yield a text in lines that a terminal shows whole, indented beside its label."""
    lines = textwrap.wrap(text, _COLUMNS - width, break_on_hyphens=False)
    for line in lines:
        yield Text(f"{label:{width}}{line}" if width else line, style)
        label = ""


def _headline(plan: DryRun) -> Iterator[str]:
    estimate = plan.estimate
    if plan.extent.complete:
        requests, records = plan.tally.total, plan.read
        ours, classic, about = dollars(plan.dollars), dollars(plan.classic_dollars), ""
    elif estimate is not None:
        digits = 3 if plan.read >= _SURER_RECORDS else 2
        requests, records = (
            round(_rounded(number, digits)) for number in (estimate.requests, estimate.records)
        )
        ours, classic = (
            _rough_dollars(amount, digits)
            for amount in (estimate.dollars, estimate.classic_dollars)
        )
        about = "about "
    else:
        requests, records = plan.tally.total, plan.read
        ours, classic, about = dollars(plan.dollars), dollars(plan.classic_dollars), "at least "
    yield f"{about}{_count(requests, 'request')} for {about}{_count(records, 'record')}"
    if plan.sizes.count:
        yield f"{about}{ours}; an upload and a call for each record would cost {about}{classic}"


def _rounded(number: float, digits: int) -> float:
    """Return a number rounded to a number of significant digits."""
    return round(number, digits - 1 - math.floor(math.log10(number))) if number else 0.0


def _rough_dollars(amount: float, digits: int) -> str:
    """Write an amount that is not known to the cent."""
    amount = _rounded(amount, digits)
    return f"${amount:,.0f}" if amount >= 10 ** (digits - 1) else dollars(amount)


def _summary(plan: DryRun) -> Iterator[tuple[str, str]]:
    tally, extent = plan.tally, plan.extent
    read = f"{plan.read:,} of {number_format.size(plan.sizes.total)}"
    if not extent.complete and extent.scale is None:
        read += ", the first part of the input, whose whole size is not known"
    elif not extent.complete:
        assert extent.scale is not None
        rough = "rough " if plan.read < _SURE_RECORDS else ""
        read += f", {number_format.percent(1 / extent.scale)} of the input: "
        read += f"the totals are {rough}estimates"
    yield "records", read
    for route, way in (("inline", "inline"), ("s3", "through S3")):
        requests = tally.by_route(tally.requests, route)
        if requests or route == "inline":
            records = tally.by_route(tally.records, route)
            size = number_format.size(tally.bytes[route])
            # Most are in the first encoding; the others are worth a mention.
            others = "".join(
                f"; {tally.requests[encoding, route]:,} as {encoding}"
                for encoding in plan.config.packing.encodings[1:]
                if tally.requests[encoding, route]
            )
            whole = f"{_count(requests, 'request')} with {_count(records, 'record')}, {size}"
            if route == "inline" and tally.partial is not None:
                others += "; the last one is not full yet"
            yield way, whole + others
    if tally.total:
        sizes = tally.sizes
        held = _count(sizes.largest, "record")
        if sizes.smallest < sizes.largest:
            held = f"{sizes.smallest:,} to {held}, median {sizes.percentile(0.5):,}"
        full = f"; inline ones are {number_format.percent(tally.fill)} full" if tally.fill else ""
        yield "a request", held + full
    for reason, refusal in sorted(plan.refused.items(), key=lambda item: -item[1].records):
        message = refusal.message
        if not message.startswith(refusal.place):
            message = f"{refusal.place}: {message}"
        yield "refused", f"{refusal.records:,} {reason}; the first, {message}"


def _histogram(sizes: Spread) -> Iterator[Text]:
    steps = list(sizes.steps())
    if len(steps) > _MAX_STEPS:
        steps = _decades(steps)
    max_count = max(count for _, _, count in steps)
    figures = [
        f"{name} {number_format.size(sizes.percentile(share))}" for name, share in PERCENTILES
    ]
    figures.append(f"max {number_format.size(sizes.largest)}")
    rows = [
        [
            f"below {number_format.size(high)}",
            f"{count:,}",
            "#" * math.ceil(_BAR * count / max_count),
        ]
        for _, high, count in steps
    ]
    yield Text()
    yield Text(f"record size   {'   '.join(figures)}", "dim")
    for label, count, bar in rows:
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        yield Text(f"{label:>{widths[0]}}  {count:>{widths[1]}}  {bar}".rstrip())


def _decades(steps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Join steps of 1, 2, 5 into steps of ten."""
    joined: dict[int, tuple[int, int, int]] = {}
    for low, _, count in steps:
        decade = 10 ** (len(str(low)) - 1) if low else 0
        joined[decade] = (decade, max(10 * decade, 1), joined.get(decade, (0, 0, 0))[2] + count)
    return list(joined.values())


def _cost(plan: DryRun) -> Iterator[Text]:
    used, classic = plan.used, plan.classic.usage()
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
    usual += f"; given: {', '.join(sorted(given))}" if given else ""
    yield from _wrapped(usual, style="dim")
    if not plan.assumed.events:
        yield Text("without completion.queue_url: probes of S3 are not counted", "dim")


def _trials(plan: DryRun) -> Iterator[Text]:
    """Yield the alternatives that were tried; those with equal figures share a row."""
    if len(plan.trials) < 2:
        return
    part = "" if plan.tried_records == plan.sizes.count else f" the first {plan.tried_records:,}"
    rows = [[f"tried{part}", "requests", "inline", "S3", "refused", "per 1M"]]
    now, *others = plan.trials
    rows.append([f"{_named(now.alternative.framed, now.alternative.encoded)} (now)", *_cells(now)])
    same: dict[tuple[str, ...], list[str]] = {}
    for trial in others:
        same.setdefault((trial.alternative.framed, *_cells(trial)), []).append(
            trial.alternative.encoded
        )
    rows += [[_named(framed, _joined(names)), *cells] for (framed, *cells), names in same.items()]
    if not any(trial.tally.refused_records for trial in plan.trials):
        for row in rows:
            del row[4]
    yield from _table(rows)


def _named(framed: str, encoded: str) -> str:
    return f"{framed}: {encoded}" if framed else encoded


def _joined(names: list[str]) -> str:
    """Name encodings with equal figures; gzip is left out where zstd is named."""
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


def _advice(plan: DryRun) -> Iterator[Text]:
    yield Text()
    missing = plan.tally.refused.get("no_staging")
    if missing is not None:
        yield Text("recommended  staging: {bucket: ...}", "bold")
        yield Text(f"saves        {_count(missing.records, 'record')} from the dead letters")
    advice, lighter = plan.advice(), plan.lighter()
    if advice is not None:
        yield from _change("recommended", advice)
        yield from _wrapped(_saving(advice), label="saves", width=_LABEL)
        yield from _container(plan, advice)
    elif missing is None and len(plan.trials) < 2:
        yield Text("recommended  nothing: these records cannot be packed in another way")
    elif missing is None:
        yield Text("recommended  nothing: no other packing that was tried saves enough to change")
    if lighter is not None and (advice is None or advice.trial is not lighter.trial):
        yield from _change("lighter", lighter)
        yield Text(
            f"saves        {number_format.percent(lighter.lighter)} of the bytes: "
            "files travel as they are, not in base64"
        )
        yield from _container(plan, lighter)


def _saving(advice: Advice) -> str:
    now, then = advice.now, advice.trial
    each = f"{dollars(then.dollars_each * _MILLION)} per million records"
    usual = dollars(now.dollars_each * _MILLION)
    fewer = f"{_count(then.tally.total, 'request')}, not {now.tally.total:,}"
    return f"{fewer}; {each}, not {usual}"


def _container(plan: DryRun, advice: Advice) -> Iterator[Text]:
    """Yield the demands on the container after a change."""
    packing, tally = advice.trial.alternative.packing, advice.trial.tally
    seen = " or ".join(content_types(plan.config, advice.trial.alternative))
    yield from _wrapped(f"must understand {seen},", label="container", width=_LABEL)
    if packing.framing != "none":
        held = _count(tally.sizes.largest, "record")
        if tally.partial is not None and tally.partial.full_records > tally.sizes.largest:
            held = f"about {_count(round(_rounded(tally.partial.full_records, 2)), 'record')}"
        yield Text(f"{'':{_LABEL}}up to {held} ({packing.framing}), one output for each")
    elif advice.trial.alternative.unwraps:
        yield Text(f"{'':{_LABEL}}the decoded bytes and nothing else of the record")
    else:
        yield Text(f"{'':{_LABEL}}one record each as now")


def _change(label: str, advice: Advice) -> Iterator[Text]:
    """Yield the change as YAML, with line breaks where it would be too wide."""
    sections: dict[str, list[str]] = {}
    for key, value in advice.trial.alternative.changes.items():
        section, name = key.split(".")
        sections.setdefault(section, []).append(f"{name}: {_yaml(value)}")
    lines = []
    for section, (first, *others) in sections.items():
        indent = f"{'':{len(section) + 3}}"
        line = f"{section}: {{{first}"
        for key in others:
            # The comma, or the brace, comes on top.
            if len(line) + len(key) + 3 > _COLUMNS - _LABEL:
                lines.append(f"{line},")
                line = indent + key
            else:
                line += f", {key}"
        lines.append(f"{line}}}")
    for line in lines:
        yield Text(f"{label:{_LABEL}}{line}", "bold")
        label = ""


def _yaml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and not value.replace("-", "").replace("+", "").isalnum():
        return "'" + value.replace("'", "''") + "'"
    return "null" if value is None else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _table(rows: list[list[str]]) -> Iterator[Text]:
    """Yield the rows below their heading; long names continue in lines of their own."""
    others = sum(max(map(len, cells)) + 2 for cells in list(zip(*rows, strict=True))[1:])
    fitting = []
    for name, *cells in rows:
        first, *more = textwrap.wrap(
            name, _COLUMNS - others, subsequent_indent="  ", break_on_hyphens=False
        )
        fitting.append([first, *cells])
        fitting += [[line, *("" for _ in cells)] for line in more]
    yield Text()
    heading, *body = number_format.columns(fitting)
    yield Text(heading, "dim")
    yield from map(Text, body)


def _each(amount: float, records: int) -> float:
    return amount / records * _MILLION if records else 0.0


def dollars(amount: float) -> str:
    """Write an amount with cents, or with two digits where it is less than a dollar."""
    if amount == 0:
        return "$0"
    if amount >= 0.995:
        return f"${amount:,.2f}"
    digits = 1 - math.floor(math.log10(amount))
    if digits > 7:
        return "<$0.000001"
    text = f"{amount:.{max(digits, 2)}f}"
    return f"${text.removesuffix('0') if digits > 2 else text}"
