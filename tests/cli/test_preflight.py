"""Preflight checks find what would stop a run, before it starts and without writing."""

from pathlib import Path
from typing import Any

import pytest

from dispatcher.cli.preflight import check_outputs, check_source, describe_run
from dispatcher.config.settings import Config


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(**sections: Any) -> Config:
    return Config.model_validate({"endpoint": "a", "source": {"path": "in.jsonl"}, **sections})


def test_each_file_is_a_finding_and_a_stream() -> None:
    Path("in.jsonl").write_text("{}\n")
    findings, streams = check_source(config())
    assert [(f.ok, f.detail) for f in findings] == [(True, "in.jsonl, 3 B")]
    assert [(s.name, s.size) for s in streams] == [("in.jsonl", 3)]


def test_a_missing_file_fails() -> None:
    findings, streams = check_source(config())
    assert [f.ok for f in findings] == [False]
    assert streams == []


def test_files_that_are_records_are_counted() -> None:
    for name in "ab":
        Path(name).write_text("xx")
    (finding,), _ = check_source(config(source={"type": "files", "path": "[ab]"}))
    assert (finding.ok, finding.detail) == (True, "2 files, 4 B")


def test_outputs_of_a_new_run_are_new() -> None:
    findings = check_outputs(config())
    assert [(f.name, f.ok) for f in findings] == [
        ("ledger", True),
        ("results", True),
        ("dead letters", True),
    ]
    assert list(Path().iterdir()) == []


def test_a_queue_without_until_empty_never_ends() -> None:
    queue = {"type": "sqs", "queue_url": "https://sqs.x/1/in"}
    rows = dict(describe_run(config(source=queue), []))
    assert rows["source"] == "https://sqs.x/1/in, key is the message's id, never ends by itself"
