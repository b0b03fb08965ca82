"""The dry run: its estimates are near the truth, and its advice saves what it says."""

import functools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_
from hypothesis import strategies as st

from dispatcher.plan.alternatives import MANY_RECORDS
from dispatcher.plan.cost import Assumptions, Prices
from dispatcher.plan.extent import Extent
from dispatcher.plan.planner import Planner
from dispatcher.samples.datasets import DATASETS
from tests.plan.plans import WHOLE, config, plan_of, records, text_of


def test_short_texts_should_be_packed_as_lines() -> None:
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


def test_what_costs_nothing_cannot_become_cheaper() -> None:
    planner = Planner(
        config(),
        Assumptions(),
        Prices(s3_put=0, s3_get=0, sns_publish=0, sqs_request=0, kms_request=0),
    )
    planner.add(records(DATASETS["short-text"](100, 1)))
    plan = planner.finish(WHOLE)
    assert plan.advice() is None
    assert "\n$0; an upload and a call for each record would cost $0\n" in text_of(plan)
