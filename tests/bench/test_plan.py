"""The pure parts of a plan: counting, extrapolating, trying other ways, and what is recommended."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.bench.cost import Assumptions, Prices
from dispatcher.bench.datasets import DATASETS
from dispatcher.bench.plan import Plan, Planner
from dispatcher.bench.plan_extent import Extent, Measure
from dispatcher.bench.plan_report import dollars, report
from dispatcher.bench.plan_tally import Spread
from dispatcher.bench.plan_ways import MANY_RECORDS, base64_field, ways
from dispatcher.config.packing import PackingSettings
from dispatcher.config.settings import Config
from dispatcher.sources.record import Item, Position, Record, Unreadable


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


def plan_of(items: list[Item], settings: Config, *, trial_bytes: int = 4_000_000) -> Plan:
    planner = Planner(settings, Assumptions(), Prices(), trial_bytes=trial_bytes)
    for start in range(0, len(items), 7):
        planner.add(items[start : start + 7])
    return planner.finish()


def text_of(plan: Plan, extent: Extent | None = None) -> str:
    return "\n".join(line.plain for line in report(plan, extent or Extent(True, 1.0)))


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
    measure, left = Measure(), sample
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
    other = records([LINES[0].raw] * 10, "other.jsonl")
    batches = [(LINES, 4_000), (other, 5_000)]
    assert followed(batches, 45, expected=9_000, ended=False) == Extent(False, 2.0)


def test_a_pipe_has_no_size() -> None:
    assert followed([(LINES, 4_000)], 40, expected=None, ended=False) == Extent(False, None)


@pytest.mark.parametrize("framing", ["none", "lines", "json-array", "msgpack-array", "template"])
def test_every_way_is_a_configuration_that_can_be_run(framing: str) -> None:
    given_: dict[str, Any] = {"framing": framing}
    if framing == "template":
        given_["template"] = '{"instances": [...]}'
    if framing == "msgpack-array":
        given_["encodings"] = ["msgpack"]
    packing = PackingSettings.model_validate(given_)
    found = ways(packing, "image", None)
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
    assert advice.trial.way.changes == {
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


def test_a_low_bound_is_to_be_raised() -> None:
    lines = records(DATASETS["short-text"](2_000, 1))
    advice = plan_of(lines, config(framing="lines", max_records=2)).advice()
    assert advice is not None
    assert advice.trial.way.changes == {"packing.max_records": MANY_RECORDS}
    assert advice.trial.way.level == 0


def test_what_cannot_be_sent_is_told_with_its_first_example() -> None:
    broken = [
        Unreadable(Position("in.jsonl", 0, 5, n), f"in.jsonl:{n}", b"", "bad_json", f"wrong {n}")
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
    plan = plan_of(LINES, config(framing="lines", max_records=10))
    text = text_of(plan, Extent(complete=False, scale=50.0))
    assert text.startswith("about 200 requests for about 2,000 records\nabout $")
    assert "records    40 of 4.0 kB, 2% of the input: the totals are estimates" in text
    text = text_of(plan, Extent(complete=False, scale=None))
    assert text.startswith("at least 4 requests for at least 40 records")
    assert "how much more there is, is not known" in text


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


def test_what_costs_nothing_cannot_become_cheaper() -> None:
    planner = Planner(config(), Assumptions(), Prices(0, 0, 0, 0, 0))
    planner.add(records(DATASETS["short-text"](100, 1)))
    plan = planner.finish()
    assert plan.advice() is None
    assert "\n$0; an upload and a call for each record would cost $0\n" in text_of(plan)


def test_keys_of_kms_are_a_price_item() -> None:
    lines = records([json.dumps("x" * 200_000).encode()])
    planner = Planner(config(), Assumptions(kms=True), Prices())
    planner.add(lines)
    assert "\nKMS                        $6.00" in text_of(planner.finish())
