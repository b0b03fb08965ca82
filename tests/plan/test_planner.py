"""The pure parts of a plan: counting, extrapolating, trying other ways, and what is recommended."""

import base64
import functools
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as settings_
from hypothesis import strategies as st

from dispatcher.config.packing import PackingSettings
from dispatcher.config.settings import Config
from dispatcher.plan.alternatives import MANY_RECORDS, alternatives, base64_field
from dispatcher.plan.cost import Assumptions, Prices
from dispatcher.plan.extent import Extent, InputProgress
from dispatcher.plan.planner import DryRun, Planner
from dispatcher.plan.report import dollars, report
from dispatcher.plan.tally import Spread
from dispatcher.reasons import Reason
from dispatcher.records.record import Item, Position, Record, Unreadable
from dispatcher.samples.datasets import DATASETS


def records(lines: Iterator[bytes] | list[bytes], stream: str = "in.jsonl") -> list[Item]:
    items: list[Item] = []
    end = 0
    for number, line in enumerate(lines, 1):
        position = Position(stream, end, end + len(line) + 1, number)
        end = position.end
        items.append(Record(position, f"k{number}", line))
    return items


def config(**packing: Any) -> Config:
    return Config.model_validate(
        {
            "endpoint": "churn",
            "source": {"path": "in.jsonl"},
            "packing": packing,
            "staging": {"bucket": "my-inputs"},
            "completion": {"queue_url": "https://sqs/q"},
        }
    )


WHOLE = Extent(complete=True, scale=1.0)


def plan_of(
    items: list[Item], settings: Config, *, trial_bytes: int = 4_000_000, extent: Extent = WHOLE
) -> DryRun:
    planner = Planner(settings, Assumptions(), Prices(), trial_bytes=trial_bytes)
    for start in range(0, len(items), 7):
        planner.add(items[start : start + 7])
    return planner.finish(extent)


def text_of(plan: DryRun) -> str:
    lines = [line.plain for line in report(plan)]
    assert max(map(len, lines)) <= 80
    return "\n".join(lines)


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_a_spread_is_exact_to_three_digits(numbers: list[int]) -> None:
    spread = Spread()
    for number in numbers:
        spread.add(number)
    ordered = sorted(numbers)
    assert (spread.count, spread.total) == (len(numbers), sum(numbers))
    assert (spread.smallest, spread.largest) == (ordered[0], ordered[-1])
    assert spread.percentile(1.0) == pytest.approx(ordered[-1], rel=0.01)
    middle = ordered[(len(ordered) + 1) // 2 - 1]
    assert spread.percentile(0.5) == pytest.approx(middle, rel=0.01)
    steps = list(spread.steps())
    assert sum(count for _, _, count in steps) == len(numbers)
    for low, high, count in steps:
        assert count == sum(low <= number < high for number in numbers)


def test_an_empty_spread() -> None:
    spread = Spread()
    assert (spread.mean, spread.percentile(0.5), list(spread.steps())) == (0.0, 0, [])


def followed(
    batches: list[tuple[list[Item], int]], sample: int, *, expected: int | None, ended: bool
) -> Extent:
    measure, left = InputProgress(), sample
    for items, disk in batches:
        measure.follow(items, disk)
        if left:
            measure.plan(items[min(left, len(items)) - 1])
            left -= min(left, len(items))
    return measure.extent(ended=ended, expected=expected)


LINES = records([b'"%b"' % (b"x" * 97)] * 40)


def test_what_was_read_to_the_end_is_complete() -> None:
    assert followed([(LINES, 4_000)], 40, expected=4_000, ended=True) == Extent(True, 1.0)
    assert followed([(LINES, 4_000)], 10, expected=4_000, ended=True) == Extent(False, 4.0)


def test_a_sample_of_a_plain_file_is_exact() -> None:
    # The block ended within a line, so that more was read than handed out.
    batches = [(LINES[:10], 2_050), (LINES[10:20], 2_050), (LINES[20:30], 3_000)]
    assert followed(batches, 5, expected=400_000, ended=False) == Extent(False, 800.0)


def test_a_sample_of_a_compressed_file_goes_by_what_its_content_takes() -> None:
    # 2,000 bytes of content took 500 on disk: ten records took 250.
    batches = [(LINES[:20], 500), (LINES[20:30], 900)]
    assert followed(batches, 10, expected=25_000, ended=False) == Extent(False, 100.0)


def test_a_sample_over_several_files_adds_them_up() -> None:
    other = records([b'"%b"' % (b"x" * 97)] * 10, "other.jsonl")
    batches = [(LINES, 4_000), (other, 5_000)]
    assert followed(batches, 45, expected=9_000, ended=False) == Extent(False, 2.0)


def test_a_pipe_has_no_size() -> None:
    assert followed([(LINES, 4_000)], 40, expected=None, ended=False) == Extent(False, None)


@pytest.mark.parametrize("framing", ["none", "lines", "json-array", "msgpack-array", "template"])
def test_every_way_is_a_configuration_that_can_be_run(framing: str) -> None:
    given_: dict[str, Any] = {"framing": framing}
    if framing == "template":
        given_ |= {"template": '{"instances": [...]}', "answer": {"list": ""}}
    if framing == "msgpack-array":
        given_["encodings"] = ["msgpack"]
    packing = PackingSettings.model_validate(given_)
    found = alternatives(packing, "image", None)
    assert found[0].packing == packing
    assert len({way.packing.model_dump_json() for way in found}) == len(found)
    for way in found[1:]:
        changed = {key.removeprefix("packing."): value for key, value in way.changes.items()}
        assert PackingSettings.model_validate({**packing.model_dump(), **changed}) == way.packing
        if way.level == 0:
            assert way.packing.framing == framing
            assert way.packing.encodings in (packing.encodings, ["json"])


def test_only_a_field_with_base64_in_every_record_is_an_image() -> None:
    long = base64.b64encode(bytes(3_000)).decode()

    def field_of(*values: object) -> str | None:
        items = records([json.dumps(value).encode() for value in values])
        return base64_field([item for item in items if isinstance(item, Record)])

    assert field_of({"id": 1, "image": long}) == "image"
    assert field_of({"image": long}, {"image": long, "also": long}) == "image"
    assert field_of({"image": long}, {"image": "no base64 " * 200}) is None
    assert field_of({"a": long, "b": long}) is None
    assert field_of({"image": "c2hvcnQ="}) is None
    assert field_of([long]) is None
    assert field_of() is None


def test_short_texts_are_to_be_packed_as_lines() -> None:
    plan = plan_of(records(DATASETS["short-text"](3_000, 1)), config())
    assert plan.tally.total == 3_000
    advice = plan.advice()
    assert advice is not None
    assert advice.trial.alternative.changes == {
        "packing.framing": "lines",
        "packing.max_records": MANY_RECORDS,
    }
    assert advice.saving > 0.99
    # The same, configured.
    packed = plan_of(
        records(DATASETS["short-text"](3_000, 1)), config(framing="lines", max_records=MANY_RECORDS)
    )
    assert packed.tally.total == advice.trial.tally.total
    assert packed.advice() is None
    assert (
        "container    must understand application/jsonlines,\n"
        f"{'':13}up to {packed.tally.sizes.largest} records (lines), one output for each"
    ) in text_of(plan)


def test_what_costs_next_to_nothing_is_left_as_it_is() -> None:
    lines = records([b'{"n": %d}' % number for number in range(3_000)])
    plan = plan_of(lines, config(framing="lines", max_records=900))
    assert plan.advice() is None
    assert "recommended  nothing" in text_of(plan)


@pytest.mark.parametrize(("most", "is_raised"), [(2, True), (45, True), (60, False)])
def test_a_bound_is_raised_where_that_saves_a_hundredth_of_the_usual(
    most: int, is_raised: bool
) -> None:
    # A request costs $5.98 per million, the usual flow $10.98 a million records: $5.98 / 45 less
    # $0.012 is above a hundredth of that, and $5.98 / 60 is below it.
    lines = records(DATASETS["short-text"](1_800, 1))
    advice = plan_of(lines, config(framing="lines", max_records=most)).advice()
    assert (advice is not None) is is_raised
    if advice is not None:
        assert advice.trial.alternative.changes == {"packing.max_records": MANY_RECORDS}


def test_a_sample_that_fills_no_request_is_advised_like_the_whole() -> None:
    lines = records(DATASETS["short-text"](30, 1))
    extent = Extent(complete=False, scale=1_000.0)
    # One request of 20 and one begun; all of them together have only begun one of 1,000.
    plan = plan_of(lines, config(framing="lines", max_records=20), extent=extent)
    advice = plan.advice()
    assert advice is not None
    assert advice.trial.alternative.changes == {"packing.max_records": MANY_RECORDS}
    assert advice.saving > 0.95
    assert "up to about " in text_of(plan)
    plan = plan_of(lines, config(framing="lines", max_records=100), extent=extent)
    assert plan.advice() is None


def test_long_names_go_on_in_the_next_line() -> None:
    names = ["json", "json+gzip", "json+zstd", "msgpack", "msgpack+gzip", "msgpack+zstd"]
    lines = [*LINES, *records([b'"%b"' % (b"x" * 200_000)])]
    settings = config(encodings=names).model_copy(
        update={"staging": config().staging.model_copy(update={"bucket": None})}
    )
    assert "\njson or json+gzip or" in text_of(plan_of(lines, settings))


def test_what_cannot_be_sent_is_told_with_its_first_example() -> None:
    broken = [
        Unreadable(
            Position("in.jsonl", 0, 5, n), f"in.jsonl:{n}", b"", Reason.BAD_JSON, f"wrong {n}"
        )
        for n in (1, 2)
    ]
    large = records([b"1", json.dumps("x" * 200_000).encode()])
    settings = config().model_copy(
        update={"staging": config().staging.model_copy(update={"bucket": None})}
    )
    plan = plan_of([*broken, *large], settings)
    assert plan.read == 4
    assert {reason: refusal.records for reason, refusal in plan.refused.items()} == {
        "bad_json": 2,
        "no_staging": 1,
    }
    text = text_of(plan)
    assert "refused    2 bad_json; the first, in.jsonl, line 1: wrong 1" in text
    assert (
        "recommended  staging: {bucket: ...}\nsaves        1 record from the dead letters" in text
    )


def test_what_the_ladder_made_fit_is_told() -> None:
    lines = records([b'"%b"' % (b"x" * size) for size in (10, 200_000, 20)])
    plan = plan_of(lines, config(encodings=["json", "json+zstd"]))
    assert "inline     3 requests with 3 records, " in text_of(plan)
    assert "; 1 as json+zstd\n" in text_of(plan)
    assert plan.tally.by_route(plan.tally.requests, "s3") == 0


def test_an_input_without_records() -> None:
    plan = plan_of([], config())
    assert (
        text_of(plan)
        == "0 requests for 0 records\n\nrecords  0 of 0 B\ninline   0 requests with 0 records, 0 B"
    )
    assert plan.advice() is None


def test_totals_of_a_sample_are_said_to_be_estimates() -> None:
    settings = config(framing="lines", max_records=10)
    text = text_of(plan_of(LINES, settings, extent=Extent(complete=False, scale=50.0)))
    assert text.startswith("about 200 requests for about 2,000 records\nabout $")
    assert "records    40 of 4.0 kB, 2% of the input: the totals are rough estimates" in text
    assert "would cost about $" in text
    text = text_of(plan_of(LINES, settings, extent=Extent(complete=False, scale=None)))
    assert text.startswith("at least 4 requests for at least 40 records")
    assert "whose whole size is not known" in " ".join(text.split())


@pytest.mark.parametrize(("records_", "told"), [(2_000, "6,700"), (10_000, "6,670")])
def test_estimates_have_as_many_digits_as_are_known(records_: int, told: str) -> None:
    lines = records([b"%04d" % (1_000 + number % 9_000) for number in range(records_)])
    settings = config(framing="lines", max_records=100)
    extent = Extent(complete=False, scale=666_666 / records_)
    text = text_of(plan_of(lines, settings, trial_bytes=0, extent=extent))
    assert text.startswith(f"about {told} requests for about ")
    assert "rough" not in text


def test_a_plan_of_nothing_says_so() -> None:
    assert text_of(plan_of([], config(), extent=Extent(False, None))) == "nothing was read"


SIZES = (1, 10, 300, 1_000, 5_000)
PACKINGS: dict[str, dict[str, Any]] = {
    "one each": {},
    "few": {"framing": "lines", "max_records": 300},
    "many": {"framing": "lines", "max_records": 1_000},
    "compressed": {
        "framing": "msgpack-array",
        "encodings": ["msgpack+zstd"],
        "max_records": 1_000,
    },
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    ("kind", "count", "most"),
    [("short-text", 12_000, 5_000), ("embeddings", 1_200, 1_000), ("images", 250, 100)],
)
def test_a_sample_is_near_the_truth(kind: str, count: int, most: int, packing: str) -> None:
    items = records(_lines(kind, count))
    settings = config(**PACKINGS[packing])
    whole = plan_of(items, settings, trial_bytes=0)
    for sample in sorted({min(size, most) for size in SIZES}):
        part = items[:sample]
        scale = items[-1].position.end / part[-1].position.end
        extent = Extent(complete=False, scale=scale)
        found = plan_of(part, settings, trial_bytes=0, extent=extent).estimate
        assert found is not None
        assert found.requests <= found.records + 1e-6
        # Below 100 records it is the luck of the first ones.
        bound = 0.15 if sample >= 1_000 else 0.25 if sample >= 100 else math.inf
        assert found.requests == pytest.approx(whole.tally.total, rel=bound), sample
        assert found.dollars == pytest.approx(whole.dollars, rel=bound), sample


@functools.cache
def _lines(kind: str, count: int) -> list[bytes]:
    return list(DATASETS[kind](count, 2))


@given(
    st.lists(st.sampled_from([10, 50, 900, 127_000, 200_000]), min_size=1, max_size=60),
    st.sampled_from(["json", "json+zstd"]),
    st.integers(1, 30),
)
@settings_(deadline=None, max_examples=40)
def test_there_are_never_more_requests_than_records(
    sizes: list[int], encoding: str, most: int
) -> None:
    lines = records([b'"%b"' % (b"x" * size) for size in sizes])
    packed = config(framing="lines", encodings=[encoding], max_records=most)
    plan = plan_of(lines, packed, trial_bytes=0, extent=Extent(complete=False, scale=7.0))
    found = plan.estimate
    assert found is not None
    assert 0 < found.requests <= found.records + 1e-6
    # Of the requests that were made only the last one may count for less.
    assert plan.tally.total - 1 <= found.requests / 7.0 <= plan.tally.total + 1e-9


def test_one_large_record_tells_nothing_of_the_small_ones() -> None:
    lines = records([b'"%b"' % (b"x" * size) for size in (300_000, *[98] * 299)])
    settings = config(framing="lines", max_records=1_000)
    plan = plan_of(lines, settings, trial_bytes=0, extent=Extent(complete=False, scale=10.0))
    assert plan.estimate is not None
    assert plan.estimate.requests == pytest.approx(10 * (1 + 0.299))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0"),
        (1234.5, "$1,234.50"),
        (0.999, "$1.00"),
        (0.4, "$0.40"),
        (0.08, "$0.08"),
        (0.0099, "$0.0099"),
        (0.00002, "$0.00002"),
        (3e-9, "<$0.000001"),
    ],
)
def test_amounts(amount: float, text: str) -> None:
    assert dollars(amount) == text


def test_images_may_travel_as_they_are() -> None:
    plan = plan_of(records(DATASETS["images"](30, 1)), config(), trial_bytes=10**9)
    advice = plan.lighter()
    assert advice is not None
    assert advice.lighter == pytest.approx(0.25, abs=0.01)
    text = text_of(plan)
    assert "lighter      packing: {encodings: [raw], select: '{base64: image}'}\n" in text
    assert "container    must understand application/octet-stream,\n" in text
    done = plan_of(
        records(DATASETS["images"](30, 1)), config(encodings=["raw"], select="{base64: image}")
    )
    assert done.lighter() is None
    assert done.tally.bytes == advice.trial.tally.bytes


def test_a_content_type_of_something_else_goes_with_it() -> None:
    settings = config()
    request = settings.request.model_copy(update={"content_type": "application/json"})
    settings = settings.model_copy(update={"request": request})
    text = text_of(plan_of(records(DATASETS["embeddings"](60, 1)), settings))
    assert (
        "recommended  packing: {framing: msgpack-array, encodings: [msgpack+zstd],\n"
        "                       max_records: 1000}\n"
        "             request: {content_type: null}\n"
    ) in text
    assert "must understand application/msgpack; encoding=zstd,\n" in text


def test_a_long_change_is_broken_between_its_keys() -> None:
    settings = config(
        framing="lines", encodings=["json"], max_bytes="20kB", content_types={"json": "text/plain"}
    )
    text = text_of(plan_of(records(DATASETS["embeddings"](60, 1)), settings))
    start = text.index("recommended  ") + 13
    change = "\n".join(line[13:] for line in text[start - 13 : text.index("saves ")].splitlines())
    advice = plan_of(records(DATASETS["embeddings"](60, 1)), settings).advice()
    assert advice is not None
    told = yaml.safe_load(change)["packing"]
    assert {
        f"packing.{key}": value for key, value in told.items()
    } == advice.trial.alternative.changes
    assert change.count("\n") >= 1


def test_what_costs_nothing_cannot_become_cheaper() -> None:
    planner = Planner(config(), Assumptions(), Prices(0, 0, 0, 0, 0))
    planner.add(records(DATASETS["short-text"](100, 1)))
    plan = planner.finish(WHOLE)
    assert plan.advice() is None
    assert "\n$0; an upload and a call for each record would cost $0\n" in text_of(plan)


def test_keys_of_kms_are_a_price_item() -> None:
    lines = records([json.dumps("x" * 200_000).encode()])
    planner = Planner(config(), Assumptions(kms=True), Prices())
    planner.add(lines)
    assert "\nKMS                        $6.00" in text_of(planner.finish(WHOLE))
