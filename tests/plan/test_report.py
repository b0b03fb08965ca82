"""The text of a plan: figures with the digits that are known, and changes that can be copied."""

import json

import pytest
import yaml

from dispatcher.plan.cost import Assumptions, Prices
from dispatcher.plan.extent import Extent
from dispatcher.plan.planner import Planner
from dispatcher.plan.report import dollars
from dispatcher.reasons import Reason
from dispatcher.records.record import Position, Unreadable
from dispatcher.samples.datasets import DATASETS
from tests.plan.plans import LINES, WHOLE, config, plan_of, records, text_of


def test_long_names_go_on_in_the_next_line() -> None:
    names = ["json", "json+gzip", "json+zstd", "msgpack", "msgpack+gzip", "msgpack+zstd"]
    lines = [*LINES, *records([b'"%b"' % (b"x" * 200_000)])]
    settings = config(encodings=names).model_copy(
        update={"staging": config().staging.model_copy(update={"bucket": None})}
    )
    assert "\njson or json+gzip or" in text_of(plan_of(lines, settings))


def test_refused_records_are_shown_with_their_first_example() -> None:
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


def test_requests_in_a_later_encoding_are_shown() -> None:
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


@pytest.mark.parametrize(("records_", "requests"), [(2_000, "6,700"), (10_000, "6,670")])
def test_estimates_have_as_many_digits_as_are_known(records_: int, requests: str) -> None:
    lines = records([b"%04d" % (1_000 + number % 9_000) for number in range(records_)])
    settings = config(framing="lines", max_records=100)
    extent = Extent(complete=False, scale=666_666 / records_)
    text = text_of(plan_of(lines, settings, trial_bytes=0, extent=extent))
    assert text.startswith(f"about {requests} requests for about ")
    assert "rough" not in text


def test_a_plan_of_nothing_says_so() -> None:
    assert text_of(plan_of([], config(), extent=Extent(False, None))) == "nothing was read"


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
    requests = yaml.safe_load(change)["packing"]
    assert {
        f"packing.{key}": value for key, value in requests.items()
    } == advice.trial.alternative.changes
    assert change.count("\n") >= 1


def test_keys_of_kms_are_a_price_item() -> None:
    lines = records([json.dumps("x" * 200_000).encode()])
    planner = Planner(config(), Assumptions(kms=True), Prices())
    planner.add(lines)
    assert "\nKMS                        $6.00" in text_of(planner.finish(WHOLE))
