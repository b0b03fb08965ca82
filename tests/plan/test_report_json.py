"""The plan as JSON: the figures of the plan, under names that the documents list."""

from pathlib import Path

import orjson
import pytest

from dispatcher.plan.extent import Extent
from dispatcher.plan.report_json import report_json
from dispatcher.samples.datasets import DATASETS
from tests.plan.plans import LINES, config, plan_of, records

PAGE = Path(__file__).parents[2] / "docs" / "plan.md"


def test_its_figures_are_those_of_the_plan() -> None:
    plan = plan_of(records(DATASETS["short-text"](300, 1)), config())
    document = orjson.loads(report_json(plan))
    advice = plan.advice()
    assert advice is not None
    assert (document["records"], document["requests"]["total"]) == (300, 300)
    assert document["requests"]["inline"] + document["requests"]["s3"] == 300
    assert sum(step["records"] for step in document["histogram"]) == 300
    assert document["cost"]["dollars"] == pytest.approx(plan.dollars)
    assert document["recommendation"]["set"] == advice.trial.alternative.changes
    assert document["recommendation"]["saving"] == pytest.approx(advice.saving, abs=1e-4)
    assert len(document["tried"]) == len(plan.trials)
    assert document["lighter"] is None
    assert document["refused"] == []


def test_an_input_of_unknown_size_has_no_estimate() -> None:
    extent = Extent(complete=False, scale=None)
    document = orjson.loads(report_json(plan_of(LINES, config(), extent=extent)))
    assert (document["complete"], document["scale"], document["estimate"]) == (False, None, None)


def test_each_field_stands_in_the_documents() -> None:
    page = PAGE.read_text()
    document = orjson.loads(report_json(plan_of(LINES, config())))
    assert [name for name in document if f"`{name}`" not in page] == []
