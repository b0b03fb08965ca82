"""Lifecycle rules that remove staged objects, too early, or not at all."""

import math
from typing import Any

import pytest

from dispatcher.aws.preflight.lifecycle import rule_of, shortfall
from dispatcher.cli.staged_retention import advice, days_needed
from dispatcher.config.settings import Config

OURS = rule_of("staged/", 3)
ABORT = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}


def rule(prefix: str = "", days: int | None = None, **more: Any) -> dict[str, Any]:
    expiration = {} if days is None else {"Expiration": {"Days": days}}
    return {"Status": "Enabled", "Filter": {"Prefix": prefix}, **expiration, **more}


@pytest.mark.parametrize(
    "rules",
    [
        [OURS],
        [rule("staged/", 3, **ABORT)],
        [rule("staged/", 300), rule("", None, **ABORT)],
        [{"Status": "Enabled", "Prefix": "st", "Expiration": {"Days": 9}, **ABORT}],
        [{"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 3}, **ABORT}],
        [OURS, rule("other/", 1), rule("staged/", 1) | {"Status": "Disabled"}],
    ],
)
def test_rules_that_do(rules: list[dict[str, Any]]) -> None:
    assert shortfall(rules, "staged/", 3) is None


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "no rule removes all objects below 'staged/'"),
        ([rule("staged/a", 3, **ABORT)], "no rule removes"),
        ([rule("other/", 3, **ABORT)], "no rule removes"),
        ([OURS | {"Status": "Disabled"}], "no rule removes"),
        ([OURS | {"Filter": {"And": {"Prefix": "staged/", "Tags": []}}}], "no rule removes"),
        ([OURS | {"Filter": {"ObjectSizeGreaterThan": 1}}], "no rule removes"),
        ([rule("staged/", 3)], "no rule aborts incomplete multipart uploads"),
        ([rule("staged/", 2, **ABORT)], "after 2 days, and they are needed for 3"),
        ([OURS, rule("staged/00/", 1)], "after 1 days"),
    ],
)
def test_rules_that_do_not(rules: list[dict[str, Any]], said: str) -> None:
    wrong = shortfall(rules, "staged/", 3)
    assert wrong is not None
    assert said in wrong


def config(**sections: Any) -> Config:
    return Config.model_validate({"endpoint": "churn", "source": {"path": "in"}, **sections})


def test_an_object_is_kept_for_all_attempts() -> None:
    # 3 attempts of 6 hours in the queue, 15 minutes and a minute; an hour before each other one.
    hours = 1 + 3 * (6 + 16 / 60) + 2
    assert days_needed(config()) == 1 + math.ceil(hours / 24)
    short = config(
        request={"ttl": "60s", "timeout": "1s"}, retry={"outcomes": {"expired": {"attempts": 1}}}
    )
    assert days_needed(short) == 2
    many = config(retry={"outcomes": {"model_error": {"attempts": 100}}})
    assert days_needed(many) == 1 + math.ceil((1 + 100 * (6 + 16 / 60) + 99) / 24)


def test_the_rule_is_only_advised_where_it_is_wanted() -> None:
    assert advice(config(staging={"bucket": "inputs"})) is None
    assert advice(config(staging={"delete": "by_lifecycle"})) is None
    text = advice(config(staging={"bucket": "inputs", "delete": "by_lifecycle"}))
    assert text is not None
    assert '"Prefix": "staged/"' in text
    assert "--bucket inputs" in text
