"""The run of ``make quickstart``, on fewer records."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dispatcher.cli.main import program
from dispatcher.config.load import load_config
from dispatcher.emulator.models.text_stats import stats
from dispatcher.samples import records

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
RECORDS = 300


def test_the_quick_start_answers_every_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(CONFIG, environ={})
    (source,) = map(Path, config.source.path)
    made = CliRunner().invoke(records.main, ["--count", str(RECORDS), "--out", str(source)])
    assert made.exit_code == 0, made.output
    result = CliRunner().invoke(program, ["run", str(CONFIG)], prog_name="dispatcher")
    assert result.exit_code == 0, result.output
    assert f"read {RECORDS} = completed {RECORDS} + dead 0" in result.stderr

    wanted = {}
    sizes = []
    for line in source.read_bytes().splitlines():
        record = json.loads(line)
        wanted[record["id"]] = stats(record)
        sizes.append(len(line))
    assert (len(wanted), min(sizes), max(sizes)) == (RECORDS, 100, 600_000)
    lines = [json.loads(line) for line in Path(config.sink.path).read_text().splitlines()]
    assert len(lines) == RECORDS
    assert {line["key"]: line["output"] for line in lines} == wanted
    assert Path(config.dead_letters.path).read_bytes() == b""
