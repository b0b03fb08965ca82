"""Each kind of sink is opened with symptoms it needs, and files are closed at the end."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dispatcher.config.connectors import DeadLetterSettings, SinkSettings
from dispatcher.connectors.open_sinks import open_sinks
from dispatcher.connectors.sink import Sink
from dispatcher.connectors.sqs.sink import SqsSink
from dispatcher.errors import CallError, StateError
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Outcome
from dispatcher.reasons import Reason
from dispatcher.records.record import Position
from dispatcher.retry.outage_timer import OutageTimer

URL = "https://sqs.eu-west-1.amazonaws.com/1/out"
COMPLETED = Outcome(Position("in", 0, 1, 1), "a", "completed", b"1", None, input=b"2")
DEAD = Outcome.dead(Position("in", 1, 2, 2), "b", Reason.BAD_JSON, "no", input=b"x")


@dataclass
class Queue:
    url: str
    sent: list[str] = field(default_factory=list)

    async def send(self, bodies: Sequence[str]) -> Mapping[int, CallError]:
        self.sent += bodies
        return {}

    async def attributes(self) -> Mapping[str, str] | None:
        return {}


def open_(
    sink: dict[str, Any] | None = None,
    dead_letters: dict[str, Any] | None = None,
    *,
    queue: Callable[[str], Queue] = Queue,
    sink_mark: Callable[[str], SinkMark | None] = lambda _: None,
    symptoms: list[str] | None = None,
) -> AbstractContextManager[tuple[Sink, Sink]]:
    def outage_timer(symptom: str) -> OutageTimer:
        (symptoms if symptoms is not None else []).append(symptom)
        return OutageTimer(give_up_after=60.0, monotonic=lambda: 0.0, symptom=symptom)

    return open_sinks(
        sink=SinkSettings.model_validate(sink or {}),
        dead_letters=DeadLetterSettings.model_validate(dead_letters or {}),
        durable=False,
        sink_mark=sink_mark,
        queue=queue,
        outage_timer=outage_timer,
        rng=random.Random(1),
    )


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_files() -> None:
    with open_({"join": "both"}) as (results, dead_letters):
        await results.write([COMPLETED])
        await dead_letters.write([DEAD])
        assert (results.name, dead_letters.name) == ("results.jsonl", "dead.jsonl")
    line = json.loads(Path("results.jsonl").read_text())
    assert line == {"key": "a", "status": "completed", "output": 1, "input": 2}
    assert json.loads(Path("dead.jsonl").read_text())["reason"] == "bad_json"


async def test_a_selection_has_taken_from_the_input_what_it_needs() -> None:
    with open_({"join": "both", "select": "input"}) as (results, _):
        await results.write([COMPLETED])
    assert "input" not in json.loads(Path("results.jsonl").read_text())


async def test_a_file_is_cut_back_to_what_the_ledger_recorded() -> None:
    with open_() as (results, _):
        await results.write([COMPLETED])
        mark = results.mark
        await results.write([COMPLETED])
    with open_(sink_mark={"results.jsonl": mark}.get):
        assert len(Path("results.jsonl").read_text().splitlines()) == 1


def test_both_files_are_closed_where_one_cannot_be_opened() -> None:
    Path("dead.jsonl").write_text("of another run\n")
    with pytest.raises(StateError, match=r"dead\.jsonl"), open_():
        pass
    Path("dead.jsonl").unlink()
    with open_():
        pass  # the lock on the results is free again


async def test_queues() -> None:
    queues: dict[str, Queue] = {}
    symptoms: list[str] = []

    def queue(url: str) -> Queue:
        return queues.setdefault(url, Queue(url))

    settings = {"type": "sqs", "queue_url": URL}
    with open_(
        settings, settings | {"queue_url": f"{URL}-dead"}, queue=queue, symptoms=symptoms
    ) as sinks:
        for sink, outcome in zip(sinks, (COMPLETED, DEAD), strict=True):
            assert isinstance(sink, SqsSink)
            await sink.write([outcome])
    assert [json.loads(q.sent[0])["key"] for q in queues.values()] == ["a", "b"]
    assert symptoms == [f"{URL} could not be sent to", f"{URL}-dead could not be sent to"]
