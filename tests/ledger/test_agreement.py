"""A resumed run is refused where its keys, payloads or results would come out differently."""

from typing import Any

import pytest

from dispatcher.config.settings import Config
from dispatcher.ledger.agreement import differences, terms

BASE: dict[str, Any] = {"endpoint": "churn", "source": {"path": ["a.jsonl", "b.jsonl"]}}


def config(**changed: Any) -> Config:
    return Config.model_validate({**BASE, **changed})


def test_the_same_configuration_agrees() -> None:
    assert differences(terms(config()), terms(config()), begun=True) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"endpoint": "other"}, 'endpoint.name was "churn" and is now "other"'),
        (
            {"source": {**BASE["source"], "key": "id"}},
            'source.key was not set and is now "id"',
        ),
        ({"request": {"accept": "text/csv"}}, 'request.accept was not set and is now "text/csv"'),
        ({"packing": {"framing": "lines"}}, 'packing.framing was "none" and is now "lines"'),
        ({"sink": {"join": "both"}}, 'sink.join was "output" and is now "both"'),
        ({"sink": {"meta": True}}, "sink.meta was false and is now true"),
        ({"sink": {"path": "x"}}, 'sink.path was "results.jsonl" and is now "x"'),
        ({"dead_letters": {"path": "x"}}, 'dead_letters.path was "dead.jsonl" and is now "x"'),
        (
            {"source": {"path": ["a.jsonl"]}},
            'source.path was ["a.jsonl", "b.jsonl"] and is now ["a.jsonl"]',
        ),
    ],
)
def test_what_would_change_results_is_named(changed: dict[str, Any], sentence: str) -> None:
    assert differences(terms(config()), terms(config(**changed)), begun=True) == [sentence]


@pytest.mark.parametrize(
    "changed",
    [
        {"source": {"path": ["a.jsonl", "b.jsonl", "c.jsonl"]}},
        {"source": {"path": ["b.jsonl", "a.jsonl"]}},
        {"limits": {"concurrency": 2, "outstanding": 9}},
        {"retry": {"attempts": 2}},
        {"staging": {"bucket": "mine"}},
        {"completion": {"sweep_after": "5s"}},
        {"packing": {"linger": "1s", "max_bytes": "5kB"}},
        {"observe": {"port": 0}},
        {"request": {"ttl": "1h", "timeout": "60s"}},
    ],
)
def test_what_only_changes_the_way_may_change(changed: dict[str, Any]) -> None:
    assert differences(terms(config()), terms(config(**changed)), begun=True) == []


def test_every_difference_is_told_in_order() -> None:
    now = config(endpoint="other", sink={"join": "input"}, dead_letters={"path": "d"})
    told = differences(terms(config()), terms(now), begun=True)
    assert [sentence.split()[0] for sentence in told] == [
        "dead_letters.path",
        "endpoint.name",
        "sink.join",
    ]


def test_terms_of_another_version_are_compared_by_name() -> None:
    assert differences('{"old": 1, "same": 2}', '{"new": [3], "same": 2}', begun=True) == [
        "new was not set and is now [3]",
        "old was 1 and is now not set",
    ]


def test_the_endpoint_may_be_corrected_until_it_has_taken_something() -> None:
    before, now = terms(config(endpoint="chrun")), terms(config())
    assert differences(before, now, begun=False) == []
    assert differences(before, now, begun=True) != []
