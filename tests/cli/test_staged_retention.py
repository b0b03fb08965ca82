"""Staged objects live as long as their records may need them; the rule removes them after that."""

import json
from typing import Any

from dispatcher.cli.staged_retention import advice, days_needed
from dispatcher.config.settings import Config


def config(**sections: Any) -> Config:
    return Config.model_validate({"endpoint": "a", "source": {"path": "in"}, **sections})


def test_days_follow_attempts_and_deadlines() -> None:
    one = {"retry": {"outcomes": {"model_server_error": {"attempts": 1}}}}
    short = {"request": {"ttl": "1m", "timeout": "1s"}}
    assert days_needed(config(**short)) == 2
    # Three attempts of 6 h + 15 m + 1 m, two waits of 1 h, and 1 h in which an object is shared.
    assert days_needed(config()) == 2
    many = {"retry": {"outcomes": {"expired": {"attempts": 100}}}}
    # 100 * 22,560 s + 99 * 3,600 s + 3,600 s = 30.3 days, and one more.
    assert days_needed(config(**many)) == 32
    assert days_needed(config(**one)) <= days_needed(config())


def test_the_rule_is_shown_only_where_a_rule_deletes() -> None:
    assert advice(config()) is None
    assert advice(config(staging={"bucket": "inputs"})) is None
    text = advice(config(staging={"bucket": "inputs", "delete": "by_lifecycle"}))
    assert text is not None
    (rule,) = json.loads(text[text.index("{") : text.rindex("}") + 1])["Rules"]
    assert (rule["Filter"], rule["Expiration"]) == ({"Prefix": "staged/"}, {"Days": 2})
    assert "--bucket inputs" in text
