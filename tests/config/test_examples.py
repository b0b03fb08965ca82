"""The configurations that are shipped say what the models say."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from dispatcher.config.explain import section_of
from dispatcher.config.load import load_config
from dispatcher.config.settings import Config, EmulatorSettings

CONFIGS = Path(__file__).parents[2] / "configs"
REQUIRED = {"ENDPOINT": "churn", "SOURCE": "in.jsonl"}


@pytest.fixture
def with_emulator(tmp_path: Path) -> Path:
    """Return worker.yaml with its emulator section uncommented, as its text says to."""
    text = (CONFIGS / "worker.yaml").read_text()
    head, tail = text.split("# emulator:\n")
    path = tmp_path / "worker.yaml"
    path.write_text(head + "emulator:\n" + re.sub("^#", "", tail, flags=re.MULTILINE))
    return path


def _keys(model: type[BaseModel], around: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, field in model.model_fields.items():
        yield (*around, key)
        if inner := section_of(field):
            yield from _keys(inner, (*around, key))


def _written(value: Any, around: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*around, key)
            yield from _written(inner, (*around, key))


def test_worker_shows_every_key(with_emulator: Path) -> None:
    assert set(_written(yaml.safe_load(with_emulator.read_text()))) == set(_keys(Config))


def test_worker_shows_the_defaults(with_emulator: Path) -> None:
    defaults = Config.model_validate({"endpoint": "churn", "source": {"path": "in.jsonl"}})
    assert load_config(CONFIGS / "worker.yaml", environ=REQUIRED) == defaults
    assert load_config(with_emulator, environ=REQUIRED).emulator == EmulatorSettings()


def test_worker_comments_every_key(with_emulator: Path) -> None:
    lines = with_emulator.read_text().splitlines()
    for above, line in pairwise(lines):
        if re.match(r" +[a-z_0-9]+:", line):
            assert above.strip().startswith("#"), line


def test_quickstart_runs_on_the_emulator() -> None:
    config = load_config(CONFIGS / "quickstart.yaml", environ={})
    assert config.emulator is not None
    assert config.emulator.model == "text-stats"
    assert config.source.path == ["quickstart/records.jsonl"]
    assert config.source.key == "id"
