"""A resumed run is refused where its keys, payloads or results would come out differently."""

import json
from typing import Any, ClassVar, cast

import pytest

from dispatcher.config.settings import Config
from dispatcher.errors import ConfigError
from dispatcher.ledger.ledger import Ledger
from dispatcher.run.compatibility import (
    check_compatible,
    differences,
    payload_settings,
    run_settings,
)

BASE: dict[str, Any] = {"endpoint": "churn", "source": {"path": ["a.jsonl", "b.jsonl"]}}


def config(**changed: Any) -> Config:
    return Config.model_validate({**BASE, **changed})


def test_the_same_configuration_agrees() -> None:
    assert differences(run_settings(config()), run_settings(config()), has_accepted=True) == []


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
        (
            {
                "packing": {
                    "framing": "template",
                    "template": '{"a": [...]}',
                    "answer": {"list": ""},
                }
            },
            'packing.template was not set and is now "{\\"a\\": [...]}"',
        ),
        ({"packing": {"select": "x"}}, 'packing.select was not set and is now "x"'),
        (
            {"packing": {"answer": {"list": "/p"}}},
            'packing.answer.list was not set and is now "/p"',
        ),
        (
            {"packing": {"answer": {"framing": "lines"}}},
            'packing.answer.framing was not set and is now "lines"',
        ),
        (
            {"packing": {"content_types": {"json": "a/b"}}},
            'packing.content_types was not set and is now {"json": "a/b"}',
        ),
        ({"sink": {"select": "output"}}, 'sink.select was not set and is now "output"'),
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
    sentences = differences(
        run_settings(config()), run_settings(config(**changed)), has_accepted=True
    )
    assert [
        difference
        for difference in sentences
        if "packing.framing" not in difference or difference == sentence
    ] == [sentence]


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
        {"packing": {"answer": {"framing": "auto", "list": ""}}},
        {"observe": {"port": 0}},
        {"request": {"ttl": "1h", "timeout": "60s"}},
    ],
)
def test_what_only_changes_the_way_may_change(changed: dict[str, Any]) -> None:
    assert (
        differences(run_settings(config()), run_settings(config(**changed)), has_accepted=True)
        == []
    )


def test_every_difference_is_reported_in_order() -> None:
    now = config(endpoint="other", sink={"join": "input"}, dead_letters={"path": "d"})
    sentences = differences(run_settings(config()), run_settings(now), has_accepted=True)
    assert [sentence.split()[0] for sentence in sentences] == [
        "dead_letters.path",
        "endpoint.name",
        "sink.join",
    ]


def test_terms_of_another_version_are_compared_by_name() -> None:
    assert differences('{"old": 1, "same": 2}', '{"new": [3], "same": 2}', has_accepted=True) == [
        "new was not set and is now [3]",
        "old was 1 and is now not set",
    ]


def test_the_endpoint_may_be_corrected_until_it_has_accepted_something() -> None:
    before, now = run_settings(config(endpoint="chrun")), run_settings(config())
    assert differences(before, now, has_accepted=False) == []
    assert differences(before, now, has_accepted=True) != []


# Payloads and outputs, of which nothing can be forced


class LedgerFacts:
    """The part of a ledger that the check reads."""

    has_accepted = True
    stages = False
    marks: ClassVar[dict[str, int]] = {"a.jsonl": 1}

    def __init__(self, facts: dict[str, str], outstanding: int = 1) -> None:
        self.outstanding = outstanding
        self.fact = facts.get


def forced(now: Config, ledger: LedgerFacts) -> None:
    check_compatible(now, cast("Ledger", ledger), force=True)


KEYED = {"source": {**BASE["source"], "key": "id"}}


@pytest.mark.parametrize(
    "packing",
    [
        {"framing": "lines"},
        {"encodings": ["json+zstd"]},
        {"framing": "template", "template": "[[...]]", "answer": {"list": "/p"}},
        {"select": "x"},
        {"answer": {"list": "/p"}},
        {"answer": {"id": "id"}},
        {"answer": {"framing": "array"}},
    ],
)
def test_how_outputs_are_split_cannot_be_forced_while_any_is_outstanding(
    packing: dict[str, Any],
) -> None:
    before, now = config(**KEYED), config(**KEYED, packing=packing)
    facts = {"terms": run_settings(before), "packing": payload_settings(before)}
    with pytest.raises(ConfigError, match="while 1 invocations are outstanding") as caught:
        forced(now, LedgerFacts(facts))
    for name in packing:
        assert f"packing.{name}" in str(caught.value)
    forced(now, LedgerFacts(facts, 0))
    forced(before, LedgerFacts(facts))
    forced(config(endpoint="other", **KEYED), LedgerFacts(facts))


def test_what_fills_compressed_payloads_cannot_be_forced_while_any_is_outstanding() -> None:
    def filled(max_bytes: str, encoding: str) -> Config:
        return config(packing={"max_bytes": max_bytes, "encodings": ["msgpack", encoding]})

    before = filled("100kB", "json+zstd")
    facts = {"terms": run_settings(before), "packing": payload_settings(before)}
    now = filled("10kB", "json+zstd")
    with pytest.raises(ConfigError, match=r"packing\.max_bytes was 100000 and is now 10000"):
        forced(now, LedgerFacts(facts))
    # With nothing outstanding it is free, without --force.
    check_compatible(now, cast("Ledger", LedgerFacts(facts, 0)), force=False)
    plain = filled("100kB", "json")
    facts = {"terms": run_settings(plain), "packing": payload_settings(plain)}
    check_compatible(filled("10kB", "json"), cast("Ledger", LedgerFacts(facts)), force=False)


def test_what_a_record_is_cannot_be_forced_while_any_is_outstanding() -> None:
    before, now = config(), config(source={**BASE["source"], "type": "files"})
    facts = {"terms": run_settings(before), "packing": payload_settings(before)}
    with pytest.raises(ConfigError, match=r"source\.type was .* nor be forced"):
        forced(now, LedgerFacts(facts))
    forced(now, LedgerFacts(facts, 0))


def test_a_ledger_that_only_knows_its_framing_holds_against_that() -> None:
    forced(config(packing={"framing": "lines", "select": "x"}), LedgerFacts({"framing": "lines"}))
    with pytest.raises(ConfigError, match=r'packing.framing was "none" and is now "lines"'):
        forced(config(packing={"framing": "lines"}), LedgerFacts({"framing": "none"}))
    forced(config(packing={"framing": "lines"}), LedgerFacts({}))


def test_a_run_that_began_before_a_setting_existed_goes_on() -> None:
    new = {"packing.template", "packing.select", "packing.answer.list", "packing.answer.id"}
    new |= {"packing.content_types", "packing.answer.framing", "sink.select"}
    agreed = json.loads(run_settings(config()))
    assert new <= agreed.keys()
    older = json.dumps({name: value for name, value in agreed.items() if name not in new})
    assert differences(older, run_settings(config()), has_accepted=True) == []
