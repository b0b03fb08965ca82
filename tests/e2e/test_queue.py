"""Queues as source and sink over real HTTP: each message its own result, and gone only then."""

import importlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.settings import AwsSettings
from dispatcher.emulator.gateway.call import Call
from dispatcher.errors import Denied
from dispatcher.run import pipeline
from tests.e2e.conftest import Json, Way

WayTo = Callable[..., Awaitable[Way]]


@dataclass
class Queues:
    """The queues of an emulator, and the runs through them."""

    way: Way
    transport: Transport
    urls: dict[str, str] = field(default_factory=dict)

    async def make(self, name: str, **attributes: int) -> str:
        made = await self.transport.clients.sqs.create_queue(
            QueueName=name, Attributes={key: str(value) for key, value in attributes.items()}
        )
        url: str = made["QueueUrl"]
        self.urls[name] = url
        return url

    async def send(self, name: str, *values: object) -> None:
        bodies = [value if isinstance(value, str) else json.dumps(value) for value in values]
        queue = self.transport.queue(self.urls[name])
        for start in range(0, len(bodies), 10):
            assert await queue.send(bodies[start : start + 10]) == {}

    async def bodies(self, name: str) -> list[Json]:
        """Take all messages that a queue has."""
        queue = self.transport.queue(self.urls[name])
        taken: list[Json] = []
        while some := await queue.receive(wait=0):
            taken += [json.loads(message.body) for message in some]
        return taken

    async def left(self, name: str) -> tuple[int, int]:
        """Return how many messages a queue has, and how many of them are in flight."""
        counts = await self.transport.queue(self.urls[name]).attributes()
        assert counts is not None
        hidden = int(counts["ApproximateNumberOfMessagesNotVisible"])
        return int(counts["ApproximateNumberOfMessages"]) + hidden, hidden

    def sections(self, **more: Json) -> dict[str, Json]:
        """Return the sections of a run from the queue ``in``."""
        source = {
            "type": "sqs",
            "path": [],
            "queue_url": self.urls["in"],
            "key": "id",
            "until_empty": "1s",
        }
        sections: dict[str, Json] = {"source": source}
        if "out" in self.urls:
            sections["sink"] = {"type": "sqs", "path": "results.jsonl"}
            sections["sink"]["queue_url"] = self.urls["out"]
        if "dead" in self.urls:
            sections["dead_letters"] = {"type": "sqs", "path": "dead.jsonl"}
            sections["dead_letters"]["queue_url"] = self.urls["dead"]
        for name, values in more.items():
            sections[name] = sections.get(name, {}) | values
        return sections

    async def run(self, **more: Json) -> pipeline.RunResult:
        return await self.way.run(**self.sections(**more))


@pytest.fixture
async def queues_to(way_to: WayTo) -> AsyncIterator[Callable[..., Awaitable[Queues]]]:
    """Make an emulator with the given settings, and a client of its queues."""
    async with AsyncExitStack() as stack:

        async def make(**settings: object) -> Queues:
            way = await way_to(**settings)
            opened = open_transport(AwsSettings(), connections=8, access=way.access)
            return Queues(way, await stack.enter_async_context(opened))

        yield make


QueuesTo = Callable[..., Awaitable[Queues]]


def records(count: int) -> list[Json]:
    return [{"id": f"r{n}", "n": n} for n in range(count)]


def assert_answered(lines: Sequence[Json], wanted: Sequence[Json]) -> None:
    """Hold results against the records, each once, with its own output."""
    assert sorted(lines, key=lambda line: line["key"]) == sorted(
        ({"key": r["id"], "status": "completed", "output": r} for r in wanted),
        key=lambda line: str(line["key"]),
    )


async def test_from_queue_to_queue(queues_to: QueuesTo) -> None:
    queues = await queues_to(verify_signatures=True)
    for name in ("in", "out", "dead"):
        await queues.make(name)
    wanted = records(200)
    await queues.send("in", *wanted)
    ending = await queues.run()
    assert (ending.signal, ending.outstanding) == (None, 0)
    assert_answered(await queues.bodies("out"), wanted)
    assert await queues.bodies("dead") == []
    assert await queues.left("in") == (0, 0)
    assert queues.way.meter.read == queues.way.meter.completed == 200


async def test_from_file_to_queue(queues_to: QueuesTo) -> None:
    queues = await queues_to()
    for name in ("in", "out", "dead"):
        await queues.make(name)
    wanted = records(50)
    queues.way.write([*wanted, {"no": "key"}])
    sections = queues.sections()
    del sections["source"]
    await queues.way.run(**sections)
    assert_answered(await queues.bodies("out"), wanted)
    (dead,) = await queues.bodies("dead")
    assert (dead["reason"], dead["input"]) == ("missing_key", {"no": "key"})


async def test_packed_messages_get_their_own_answers(queues_to: QueuesTo) -> None:
    queues = await queues_to()
    for name in ("in", "out"):
        await queues.make(name)
    wanted = records(100)
    await queues.send("in", *wanted)
    await queues.run(packing={"framing": "json-array", "max_records": 30})
    assert_answered(await queues.bodies("out"), wanted)
    assert await queues.left("in") == (0, 0)
    assert queues.way.emulator.endpoint("emulated").accepted < 50


async def test_what_is_no_record_is_a_dead_letter_and_leaves_the_queue(queues_to: QueuesTo) -> None:
    queues = await queues_to()
    for name in ("in", "dead"):
        await queues.make(name)
    bad = ["no json", " ", '{"id": 1.5}', "[1]", json.dumps({"id": "long", "x": "y" * 500})]
    await queues.send("in", *bad, '{"id":\n"good"}')
    await queues.run(source={"max_record": 200})
    (result,) = queues.way.results()
    assert (result["key"], result["output"]) == ("good", {"id": "good"})
    dead = {line["reason"]: line for line in await queues.bodies("dead")}
    assert dead.keys() == {"bad_json", "bad_key", "missing_key", "too_large"}
    # It can be read nowhere else any more.
    assert dead["too_large"]["input"]["x"] == "y" * 500
    assert queues.urls["in"] in dead["bad_key"]["message"]
    assert await queues.left("in") == (0, 0)


async def test_from_queue_to_file_without_a_key_messages_go_by_their_names(
    queues_to: QueuesTo,
) -> None:
    queues = await queues_to()
    await queues.make("in")
    await queues.send("in", "1", '"two"', "[3]")
    await queues.run(source={"key": None})
    results = queues.way.results()
    assert sorted(json.dumps(line["output"]) for line in results) == ['"two"', "1", "[3]"]
    assert all(len(line["key"]) == 36 for line in results)
    assert await queues.left("in") == (0, 0)


async def test_a_message_stays_hidden_however_long_its_inference_takes(queues_to: QueuesTo) -> None:
    queues = await queues_to(service_time="2500ms")
    await queues.make("in", VisibilityTimeout=1)
    await queues.make("out")
    wanted = records(20)
    await queues.send("in", *wanted)
    await queues.run()
    assert_answered(await queues.bodies("out"), wanted)
    assert queues.way.emulator.endpoint("emulated").accepted == 20
    assert await queues.left("in") == (0, 0)


async def test_a_message_that_is_delivered_again_is_one_all_the_same(queues_to: QueuesTo) -> None:
    queues = await queues_to(service_time="300ms")
    await queues.make("in", VisibilityTimeout=2)
    await queues.make("out")
    wanted = records(60)
    await queues.send("in", *wanted)
    again = queues.way.emulator.faults.inject(
        "sqs_redelivery", when=lambda message: message.number % 3 == 0 and message.receives < 4
    )
    with again as injection:
        await queues.run(completion={"queue_url": None, "sweep_after": "200ms"})
    assert injection.hits >= 60
    assert queues.way.emulator.endpoint("emulated").accepted == 60
    assert await queues.left("in") == (0, 0)
    assert_answered(await queues.bodies("out"), wanted)


async def test_a_run_goes_on_with_the_messages_it_knows(queues_to: QueuesTo) -> None:
    """The first one ends before its answers come; the second one hears of its messages again."""
    queues = await queues_to(service_time="600ms")
    await queues.make("in", VisibilityTimeout=1)
    await queues.make("out")
    wanted = records(40)
    await queues.send("in", *wanted)
    sent, all_sent = set[str](), anyio.Event()

    def note(call: Call) -> bool:
        sent.add(call.id)
        if len(sent) == 40:
            all_sent.set()
        return False

    with queues.way.emulator.faults.inject("slow_accept", when=note):
        async with anyio.create_task_group() as group:
            group.start_soon(queues.run)
            await all_sent.wait()
            group.cancel_scope.cancel()
    assert await queues.left("in") == (40, 40)
    await queues.run()
    assert_answered(await queues.bodies("out"), wanted)
    assert await queues.left("in") == (0, 0)


async def test_an_answer_too_long_for_a_message_says_where_it_is(queues_to: QueuesTo) -> None:
    queues = await queues_to()
    for name in ("in", "dead"):
        await queues.make(name)
    await queues.make("out", MaximumMessageSize=2_000)
    long = {"id": "long", "text": "x" * 3_000}
    await queues.send("in", {"id": "short"}, long)
    await queues.run()
    results = {line["key"]: line for line in await queues.bodies("out")}
    assert results["short"] == {"key": "short", "status": "completed", "output": {"id": "short"}}
    assert results["long"]["output"] is None
    assert "a message of this queue at most 2000" in results["long"]["omitted"]
    assert await queues.left("in") == (0, 0)


@pytest.mark.parametrize("section", ["source", "sink", "dead_letters"])
async def test_a_queue_that_is_missing_stops_the_run_before_it_begins(
    queues_to: QueuesTo, section: str
) -> None:
    queues = await queues_to()
    for name in ("in", "out", "dead"):
        await queues.make(name)
    await queues.send("in", *records(1))
    missing = {"queue_url": queues.urls["in"] + "-not"}
    with pytest.raises(Denied, match="in-not"):
        await queues.run(**{section: missing})
    assert await queues.left("in") == (1, 0)
    assert queues.way.emulator.endpoint("emulated").accepted == 0


async def test_a_stop_gives_back_what_was_not_read_and_leaves_nothing_behind(
    queues_to: QueuesTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    containers = importlib.import_module("containers")
    gate = containers.Gate()
    monkeypatch.setattr(containers, "gate", gate)
    queues = await queues_to(model="containers:gated")
    await queues.make("in", VisibilityTimeout=2)
    await queues.make("out")
    wanted = records(60)
    await queues.send("in", *wanted)
    endings = []

    async def run() -> None:
        limits = {"outstanding": 5, "drain": "1500ms"}
        endings.append(await queues.run(limits=limits))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        while await queues.left("in") != (60, 60):
            await anyio.lowlevel.checkpoint()
        os.kill(os.getpid(), signal.SIGTERM)
    assert [ending.signal for ending in endings] == [signal.SIGTERM]
    count, hidden = await queues.left("in")
    assert count == 60
    assert hidden < 60
    gate.opened.set()
    await queues.run()
    assert_answered(await queues.bodies("out"), wanted)
    assert await queues.left("in") == (0, 0)


async def test_payloads_lost_with_the_power_are_read_from_the_queue_again(
    queues_to: QueuesTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    containers = importlib.import_module("containers")
    gate = containers.Gate()
    monkeypatch.setattr(containers, "gate", gate)
    queues = await queues_to(model="containers:gated", instances=100)
    await queues.make("in", VisibilityTimeout=1)
    await queues.make("out")
    wanted = records(60)
    await queues.send("in", *wanted)
    joined = {"join": "both"}
    limits = {"concurrency": 10, "drain": "100ms"}

    async def run() -> None:
        await queues.run(sink=joined, limits=limits)

    endpoint = queues.way.emulator.endpoint("emulated")
    async with anyio.create_task_group() as group:
        group.start_soon(run)
        while endpoint.accepted < 40:
            await queues.left("in")
        os.kill(os.getpid(), signal.SIGTERM)
    for segment in (queues.way.folder / "ledger.db.spool").iterdir():
        segment.unlink()
    gate.opened.set()
    await queues.run(sink=joined, completion={"sweep_after": "500ms"})
    lines = await queues.bodies("out")
    assert {line["key"]: (line["output"], line["input"]) for line in lines} == {
        r["id"]: (r, r) for r in wanted
    }
    assert await queues.left("in") == (0, 0)
