"""Each kind of source is opened with what it needs, beside the ledger or on its queue."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from dispatcher.config.connectors import SourceSettings
from dispatcher.config.packing import PackingSettings
from dispatcher.connectors.files.source import FilesSource
from dispatcher.connectors.jsonl.source import JsonlSource
from dispatcher.connectors.open_source import open_file_source, open_source
from dispatcher.connectors.sqs.source import SqsSource
from dispatcher.environment import Environment
from dispatcher.records.record import Record
from dispatcher.records.source import Source
from dispatcher.retry.outage_timer import OutageTimer
from tests.connectors.sqs.queue import URL, Log
from tests.doubles import FakeQueue


def unused(*_: object) -> NoReturn:
    raise AssertionError("a source of files asked for what only a queue needs")


def open_(folder: Path, settings: dict[str, Any], **needs: Any) -> Source:
    queue_needs: dict[str, Callable[..., Any]] = {
        "queue": unused,
        "message_log": unused,
        "outage_timer": unused,
    }
    return open_source(
        source=SourceSettings.model_validate(settings),
        packing=PackingSettings(),
        ledger_path=folder / "ledger.db",
        environment=Environment(rng=random.Random(1)),
        **{**queue_needs, **needs},
    )


async def read_all(source: Source) -> list[Record]:
    records: list[Record] = []
    await source.open({}, {})
    while batch := await source.read():
        records += [item for item in batch if isinstance(item, Record)]
    await source.aclose()
    return records


async def test_json_lines(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    source = open_(tmp_path, {"path": str(tmp_path / "in.jsonl"), "key": "id"})
    assert isinstance(source, JsonlSource)
    assert [record.key for record in await read_all(source)] == [1, 2]


@pytest.mark.parametrize(("encodings", "raw"), [(["json"], b'{ "a":1}'), (["raw"], b'{\n"a":1}\n')])
async def test_files_are_listed_beside_the_ledger_and_are_json_unless_sent_raw(
    tmp_path: Path, encodings: list[str], raw: bytes
) -> None:
    (tmp_path / "a").write_bytes(b'{\n"a":1}\n')
    settings = SourceSettings(type="files", path=[str(tmp_path / "a")])
    packing = PackingSettings.model_validate({"encodings": encodings})
    source = open_file_source(settings, packing, tmp_path / "ledger.db")
    assert isinstance(source, FilesSource)
    assert [record.raw for record in await read_all(source)] == [raw]
    assert (tmp_path / "ledger.db.files").exists()


async def test_a_queue_is_asked_for_by_its_url(tmp_path: Path) -> None:
    queue, log = FakeQueue(), Log(next_number=7)
    asked: list[str] = []

    def needed(value: Any) -> Callable[[str], Any]:
        def give(name: str) -> Any:
            asked.append(name)
            return value

        return give

    timer = OutageTimer(give_up_after=1.0, monotonic=lambda: 0.0, symptom="")
    source = open_(
        tmp_path,
        {"type": "sqs", "queue_url": URL},
        queue=needed(queue),
        message_log=needed(log),
        outage_timer=needed(timer),
    )
    assert isinstance(source, SqsSource)
    assert asked == [URL, URL, f"{URL} could not be received from"]
    assert (source.queue, source.message_log, source.outage_timer) == (queue, log, timer)
