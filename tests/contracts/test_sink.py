"""The contract of every sink: what it wrote is there, each outcome as one line, whole."""

import base64
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dispatcher.aws.transport import Transport
from dispatcher.connectors.jsonl.sink import JsonlFile, JsonlSink
from dispatcher.connectors.outcome_lines import result_line
from dispatcher.connectors.sink import Sink
from dispatcher.connectors.sqs.sink import SqsSink
from dispatcher.flow.content import FileSlice
from dispatcher.ledger.outcome import Outcome
from dispatcher.records.record import Position
from dispatcher.retry.outage_timer import OutageTimer
from tests.contracts.conftest import Place

TEXTS = ["", "é日本🙂", "\ufffe\uffff\ufffd", "a\nb\tc\u2028", '"\\', "x" * 200_000, "</a>&amp;"]


@dataclass
class Kept:
    """A sink, and a way to see what it holds.

    Attributes:
        sink: The sink.
        lines: Returns all that was written, in any order.
    """

    sink: Sink
    lines: Callable[[], Awaitable[list[dict[str, Any]]]]


def render(outcome: Outcome) -> bytes:
    return result_line(outcome, "output", meta=False)


def outcomes_of(texts: list[str], first: int = 0) -> list[Outcome]:
    return [
        Outcome(
            Position("in", n, n + 1, n + 1),
            f"k{n}",
            "completed",
            json.dumps(text, ensure_ascii=False).encode(),
            None,
        )
        for n, text in enumerate(texts, first)
    ]


@pytest.fixture(params=["file", "queue"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path, boxed: Place) -> AsyncIterator[Kept]:
    if request.param == "file":
        path = tmp_path / "out.jsonl"

        async def lines() -> list[dict[str, Any]]:
            return [json.loads(line) for line in path.read_bytes().splitlines()]

        with closing(JsonlFile.open(str(path), None)) as file:
            yield Kept(JsonlSink(file, render, durable=True), lines)
        return
    async with boxed.connect("direct") as transport:
        yield await to_queue(transport)


async def to_queue(transport: Transport) -> Kept:
    made = await transport.clients.sqs.create_queue(QueueName=f"q-{uuid4().hex}")
    queue = transport.queue(made["QueueUrl"])

    async def lines() -> list[dict[str, Any]]:
        got: list[dict[str, Any]] = []
        while some := await queue.receive(wait=0):
            got += [json.loads(message.body) for message in some]
        return got

    outage_timer = OutageTimer(
        give_up_after=60.0, monotonic=lambda: 0.0, symptom="the queue could not be sent to"
    )
    sink = SqsSink(queue=queue, render=render, outage_timer=outage_timer, rng=random.Random(1))
    return Kept(sink, lines)


async def test_every_outcome_is_a_line(kept: Kept) -> None:
    outcomes = outcomes_of(TEXTS * 8)
    await kept.sink.write(outcomes[:3])
    await kept.sink.write(outcomes[3:])
    lines = {line["key"]: line for line in await kept.lines()}
    assert lines == {
        f"k{n}": {"key": f"k{n}", "status": "completed", "output": text}
        for n, text in enumerate(TEXTS * 8)
    }


async def test_nothing_is_nothing(kept: Kept) -> None:
    await kept.sink.write([])
    assert await kept.lines() == []


async def test_the_mark_says_what_could_be_cut_off(kept: Kept) -> None:
    before = kept.sink.mark
    await kept.sink.write(outcomes_of(["a", "b"]))
    if before is None:
        assert kept.sink.mark is None
    else:
        assert kept.sink.mark is not None
        assert kept.sink.mark.position > before.position


async def test_it_has_a_name_that_stays(kept: Kept) -> None:
    name = kept.sink.name
    await kept.sink.write(outcomes_of(["a"]))
    assert kept.sink.name == name


async def test_an_input_that_is_too_large_for_memory_is_written_or_left_out_by_name(
    kept: Kept, tmp_path: Path
) -> None:
    raw = b'{"x": "' + b"x" * 3_000_000 + b'"}\n'
    outcomes = outcomes_of(["a", "b", "c"])
    for outcome, content in zip(outcomes[1:], (raw, b"\xff" * 2_000_000), strict=True):
        (tmp_path / str(outcome.key)).write_bytes(content)
        file = os.open(tmp_path / str(outcome.key), os.O_RDONLY)
        outcome.input = FileSlice(file, 0, len(content))
    outcomes[0].input = b"5"
    await joined(kept.sink).write(outcomes)
    lines = {line["key"]: line for line in await kept.lines()}
    assert lines["k0"] == {"key": "k0", "status": "completed", "output": "a", "input": 5}
    if kept.sink.mark is None:
        assert [lines[key]["input"] for key in ("k1", "k2")] == [None, None]
        assert "at least 2000000 bytes" in lines["k2"]["omitted"]
    else:
        assert lines["k1"]["input"] == json.loads(raw)
        assert base64.b64decode(lines["k2"]["input"]["base64"]) == b"\xff" * 2_000_000
    for outcome in outcomes[1:]:
        assert isinstance(outcome.input, FileSlice)
        with pytest.raises(OSError, match="Bad file descriptor"):
            outcome.input.read()


def joined(sink: Sink) -> Sink:
    """Return the same sink, whose lines show the input too."""

    def both(outcome: Outcome) -> bytes:
        return result_line(outcome, "both", meta=False)

    if isinstance(sink, SqsSink):
        return replace(sink, render=both)
    assert isinstance(sink, JsonlSink)
    return JsonlSink(sink._file, both, durable=True)
