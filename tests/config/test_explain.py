"""Every mistake in a configuration is reported with its place and its remedy, word by word."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from dispatcher.config.explain import PATTERNS, explain, section_of
from dispatcher.config.settings import Config

BASE = "endpoint: churn\nsource: {path: in.jsonl}\n"
ALL_SECTIONS = ", ".join(Config.model_fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "stageing: {bucket: abc}",
            'w.yaml:3: unknown key "stageing"; did you mean staging?',
            id="section",
        ),
        pytest.param(
            "staging:\n  buckett: abc",
            'w.yaml:4: unknown key "buckett" in staging; did you mean bucket?',
            id="key",
        ),
        pytest.param(
            "completion: {outstanding: 5}",
            'w.yaml:3: unknown key "outstanding" in completion; outstanding is a key of limits',
            id="key-of-another-section",
        ),
        pytest.param(
            "packing: {max_record: 5}",
            'w.yaml:3: unknown key "max_record" in packing; did you mean max_records? '
            "max_record is a key of source",
            id="near-here-and-exact-elsewhere",
        ),
        pytest.param(
            "bucket: my-inputs",
            'w.yaml:3: unknown key "bucket"; bucket is a key of staging',
            id="key-at-the-top",
        ),
        pytest.param(
            "aws: {sweep_aftr: 5s}",
            'w.yaml:3: unknown key "sweep_aftr" in aws; did you mean completion.sweep_after?',
            id="near-elsewhere",
        ),
        pytest.param(
            "zzz: 1",
            f'w.yaml:3: unknown key "zzz"; known here: {ALL_SECTIONS}',
            id="nothing-near",
        ),
        pytest.param(
            "emulator: {service_time: {p90: 1s}}",
            'w.yaml:3: unknown key "p90" in emulator.service_time; did you mean p99?',
            id="nested-section",
        ),
        pytest.param(
            "limits: {concurrency: many}",
            'w.yaml:3: limits.concurrency must be a whole number, such as 64, not "many"',
            id="int",
        ),
        pytest.param(
            "limits: {concurrency: 1.5}",
            "w.yaml:3: limits.concurrency must be a whole number, such as 64, not the number 1.5",
            id="fraction",
        ),
        pytest.param(
            "limits: {concurrency: null}",
            "w.yaml:3: limits.concurrency must be a whole number, such as 64, not empty",
            id="null",
        ),
        pytest.param(
            "limits: {outstanding: 0}",
            "w.yaml:3: limits.outstanding must be at least 1, not 0",
            id="too-small",
        ),
        pytest.param(
            "observe: {port: 99999}",
            "w.yaml:3: observe.port must be at most 65,535, not 99,999",
            id="too-large",
        ),
        pytest.param(
            "request: {ttl: 5s}", "w.yaml:3: request.ttl must be at least 1m, not 5s", id="duration"
        ),
        pytest.param(
            "limits: {payload_memory: 1kB}",
            "w.yaml:3: limits.payload_memory must be at least 1MB, not 1kB",
            id="size",
        ),
        pytest.param(
            "limits: {drain: soon}",
            "w.yaml:3: limits.drain: 'soon' is not a duration; write it like 250ms, 30s, 15m or "
            "1h30m",
            id="no-duration",
        ),
        pytest.param(
            "packing: {max_bytes: 12 apples}",
            "w.yaml:3: packing.max_bytes: '12 apples' is not a size; write it like 500B, 128kB, "
            "64MB or 1GiB",
            id="no-size",
        ),
        pytest.param(
            "sink: {join: outputs}",
            'w.yaml:3: sink.join must be output, input or both, not "outputs"; did you mean '
            "output?",
            id="choice",
        ),
        pytest.param(
            "packing: {encodings: [xml]}",
            "w.yaml:3: packing.encodings[0] must be json, json+gzip, json+zstd, msgpack, "
            'msgpack+gzip, msgpack+zstd or raw, not "xml"',
            id="choice-in-a-list",
        ),
        pytest.param(
            "packing: {encodings: json}",
            'w.yaml:3: packing.encodings must be a list, such as [a, b], not "json"',
            id="list",
        ),
        pytest.param(
            "packing: {encodings: []}",
            "w.yaml:3: packing.encodings must have at least 1 entry",
            id="empty-list",
        ),
        pytest.param(
            "sink: {meta: 3}",
            "w.yaml:3: sink.meta must be true or false, not the number 3",
            id="bool",
        ),
        pytest.param(
            "aws: {profile: 12}",
            "w.yaml:3: aws.profile must be text (in quotes where it looks like something else), "
            "not the number 12",
            id="text",
        ),
        pytest.param(
            "aws: eu-west-1",
            "w.yaml:3: aws must be a section with keys of its own (key: value, indented), not "
            '"eu-west-1"',
            id="value-for-a-section",
        ),
        pytest.param(
            "completion: {queue_url: completions}",
            "w.yaml:3: completion.queue_url must be a URL that begins with https:// or http://, "
            'not "completions"',
            id="pattern",
        ),
        pytest.param(
            "staging: {bucket: ab}",
            'w.yaml:3: staging.bucket must be at least 3 characters long, not "ab"',
            id="too-short",
        ),
        pytest.param(
            "staging: {bucket: my-inputs, prefix: '', delete: by_lifecycle}",
            "w.yaml:3: staging: prefix is '': a lifecycle rule for it would delete everything in "
            "the bucket; give staged objects a folder of their own, such as staged/",
            id="rule-for-everything",
        ),
        pytest.param(
            "staging: {bucket: my-inputs, prefix: in, delete: by_lifecycle}",
            "w.yaml:3: staging: prefix must end in / for delete: by_lifecycle: a rule for 'in' "
            "would delete whatever else begins so; write in/",
            id="rule-for-neighbours",
        ),
        pytest.param(
            "packing: {framing: none, max_records: 5}",
            "w.yaml:3: packing: framing none sends one record an invocation; to send up to 5 set "
            "framing to lines, json-array, msgpack-array or template",
            id="between-two-keys",
        ),
        pytest.param(
            "sink: {path: x}\ndead_letters: {path: x}",
            "w.yaml: sink.path and dead_letters.path must be two different files",
            id="between-two-sections",
        ),
        pytest.param(
            "emulator:",
            "w.yaml:3: emulator is empty; write emulator: {} for one with its defaults, or remove "
            "the line",
            id="emulator-that-may-be-none",
        ),
        pytest.param(
            "aws: {region: '${REG}'}",
            "w.yaml:3: the environment variable REG is not set; set it, or give a default with "
            "${REG:-default}",
            id="variable",
        ),
        pytest.param(
            "source: {path: other}",
            'w.yaml:3: "source" is given twice; it is on line 2 already',
            id="twice",
        ),
    ],
)
def test_a_mistake_is_one_sentence(mistake: Callable[..., str], text: str, expected: str) -> None:
    assert mistake(BASE + text + "\n") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            "w.yaml: it is empty; the least it needs is endpoint: NAME and source: {path: FILE}",
        ),
        (
            "# a comment\n",
            "w.yaml: it is empty; the least it needs is endpoint: NAME and source: {path: FILE}",
        ),
        ("- a\n", "w.yaml: it must be keys with values (endpoint: NAME), not a list"),
        ("hello\n", "w.yaml: it must be keys with values (endpoint: NAME), not a single value"),
        (
            "endpoint: {}\nsource:\n",
            (
                "w.yaml:1: endpoint.name is missing (name of the asynchronous inference endpoint)\n"
                "w.yaml:2: source: path is missing (file, glob, list of these, or - for standard "
                "input)"
            ),
        ),
        (
            "{}\n",
            (
                "w.yaml: endpoint is missing (the endpoint to invoke; its name is enough)\n"
                "w.yaml: source is missing"
            ),
        ),
        (
            "endpoint: -x\nsource: {path: 5}\n",
            (
                "w.yaml:1: endpoint.name must be letters, digits and single hyphens between them, "
                'not "-x"\n'
                "w.yaml:2: source.path must be text or a list, not the number 5"
            ),
        ),
    ],
)
def test_several_mistakes_are_reported_a_line_each(
    mistake: Callable[..., str], text: str, expected: str
) -> None:
    assert mistake(text) == expected


def test_a_value_is_shortened_to_one_line(mistake: Callable[..., str]) -> None:
    sentence = mistake(BASE + "sink: {join: '" + "x\n\n  " * 500 + "'}\n")
    assert "\n" not in sentence
    assert len(sentence) < 200


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        if inner := section_of(field):
            yield from _models(inner)


def test_every_pattern_of_the_settings_has_words() -> None:
    used = {
        part.pattern
        for model in _models(Config)
        for field in model.model_fields.values()
        for part in field.metadata
        if getattr(part, "pattern", None)
    }
    assert used == set(PATTERNS)


def _paths(model: type[BaseModel], around: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, field in model.model_fields.items():
        yield (*around, key)
        if inner := section_of(field):
            yield from _paths(inner, (*around, key))


VALUES: list[Any] = [
    *(None, True, -1, 10**30, 1.5, float("inf"), "", "x y", "x" * 2000),
    *([], [1], {}, {"q": 1}),
]


@pytest.mark.parametrize("path", list(_paths(Config)), ids=".".join)
def test_no_key_and_value_speak_pydantic(path: tuple[str, ...]) -> None:
    sentences = [sentence for value in VALUES for sentence in _sentences(path, value)]
    assert sentences
    for sentence in sentences:
        assert not re.search(
            r"must be different|Input should|valid (integer|string|boolean|number)|pydantic",
            sentence,
        )


def _sentences(path: tuple[str, ...], value: Any) -> list[str]:
    document: dict[str, Any] = {"endpoint": {"name": "a"}, "source": {"path": "a"}}
    section = document
    for part in path[:-1]:
        section = section.setdefault(part, {})
    section[path[-1]] = value
    try:
        Config.model_validate(document)
    except ValidationError as error:
        return [explain(details) for details in error.errors(include_url=False)]
    return []
