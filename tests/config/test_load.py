"""A configuration is read from its file, overrides and the environment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dispatcher.config.load import load_config
from dispatcher.errors import ConfigError

BASE = "endpoint: churn\nsource: {path: in.jsonl}\n"


def test_the_smallest_configuration(load: Callable[..., Any]) -> None:
    config = load(BASE)
    assert config.endpoint.name == "churn"
    assert config.source.path == ["in.jsonl"]
    assert config.limits.concurrency == 64


def test_the_example_of_the_design(load: Callable[..., Any]) -> None:
    config = load(
        """
endpoint: {name: churn}                      # or just: endpoint: churn
aws: {region: us-east-1}                     # profile, role_arn
source: {type: jsonl, path: in/*.jsonl, key: id}
packing: {encodings: [json], framing: none, max_records: 1}
staging: {bucket: my-inputs, prefix: staged/}
limits: {concurrency: 64, outstanding: 2000}
completion: {queue_url: "https://sqs.../completions", sweep_after: 60s}
ledger: {path: state/ledger.db}
sink: {type: jsonl, path: results.jsonl}     # join: output | input | both
dead_letters: {type: jsonl, path: dead.jsonl}
"""
    )
    assert config.completion.sweep_after == 60
    assert config.staging.bucket == "my-inputs"


def test_a_byte_order_mark_is_no_part_of_the_first_key(load: Callable[..., Any]) -> None:
    assert load(b"\xef\xbb\xbf" + BASE.encode()).endpoint.name == "churn"


def test_a_section_whose_keys_are_commented_out_has_its_defaults(
    load: Callable[..., Any],
) -> None:
    assert load(BASE + "limits:\n  # concurrency: 3\n").limits.concurrency == 64


def test_variables(load: Callable[..., Any]) -> None:
    text = BASE + "limits:\n  concurrency: ${CALLS:-8}\naws:\n  region: ${REGION:-}\n"
    assert load(text).limits.concurrency == 8
    assert load(text).aws.region is None
    assert load(text, (), {"CALLS": "9", "REGION": "eu-west-1"}).limits.concurrency == 9


def test_a_missing_variable_is_reported_once(mistake: Callable[..., str]) -> None:
    message = mistake("endpoint:\n  name: ${EP}\nsource: {path: a}\n")
    assert message == (
        "w.yaml:2: the environment variable EP is not set; set it, or give a default with "
        "${EP:-default}"
    )


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("limits.concurrency=10", "limits.concurrency", 10),
        ("limits.drain=1m", "limits.drain", 60.0),
        ("endpoint.name=new", "endpoint.name", "new"),
        ("endpoint=new", "endpoint.name", "new"),
        ("source.path=[a, b]", "source.path", ["a", "b"]),
        ("emulator.service_time.p99=1s", "emulator.service_time.median", 0.03),
        ("emulator.model=text-stats", "emulator.model", "text-stats"),
        ("emulator=null", "emulator", None),
        ("aws.region=", "aws.region", None),
        ("source.path=-", "source.path", ["-"]),
        ("sink.path=a=b", "sink.path", "a=b"),
        ("sink.path=$HOME", "sink.path", "$HOME"),
    ],
)
def test_overrides(load: Callable[..., Any], override: str, path: str, value: object) -> None:
    found = load(BASE + "emulator: {service_time: 30ms}\naws: {region: x}\n", [override])
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_the_last_override_wins(load: Callable[..., Any]) -> None:
    config = load(BASE, ["limits.concurrency=1", "limits.concurrency=2"])
    assert config.limits.concurrency == 2


def test_an_override_mends_the_file(load: Callable[..., Any]) -> None:
    assert load(BASE + "limits: {concurrency: x}\n", ["limits.concurrency=2"])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "limits.concurrency=x",
            (
                "--set limits.concurrency=x: limits.concurrency must be a whole number, "
                'such as 64, not "x"'
            ),
        ),
        ("limitz.a=1", '--set limitz.a=1: unknown key "limitz"; did you mean limits?'),
        (
            "limits",
            "--set limits: write it as section.key=value, as in limits.outstanding=9",
        ),
        ("a..b=1", "--set a..b=1: write it as section.key=value, as in limits.outstanding=9"),
        (
            "limits.drain=[1",
            "--set limits.drain=[1: the value is not valid YAML; put it in quotes",
        ),
        ("sink.path.x=1", "--set sink.path.x=1: sink.path is not a section in w.yaml:3"),
    ],
)
def test_a_bad_override_is_named(mistake: Callable[..., str], override: str, expected: str) -> None:
    assert mistake(BASE + "sink: {path: r}\n", [override]) == expected


def test_mistakes_are_in_the_order_of_the_file(mistake: Callable[..., str]) -> None:
    messages = mistake(BASE + "sink: {jon: x}\nlimits: {concurrency: x}\nsink: {}\naws: {z: 1}\n")
    assert [line.split(":")[1] for line in messages.splitlines()] == ["3", "4", "5", "6"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^there is no configuration file .*nowhere\.yaml$"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder; name the configuration file in it$"):
        load_config(tmp_path)


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(BASE)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # The tests may run as root, whom no permission stops.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match=r"may not be read; check its permissions$"):
        load_config(path)


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Path("x" * 300))


def test_what_is_not_utf8(mistake: Callable[..., str]) -> None:
    assert mistake(b"a: 1\nb: \xff\n") == "w.yaml:2: it is not UTF-8; save the file as UTF-8"


def test_a_large_file(mistake: Callable[..., str]) -> None:
    assert mistake("#" * 1_000_001) == "w.yaml is larger than 1 MB; is it the configuration?"
