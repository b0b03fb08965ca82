"""Events are lost, late, doubled and shuffled, and messages come that are not for this run."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dispatcher.aws.session import open_clients
from dispatcher.config.settings import AwsSettings
from dispatcher.emulator.faults.decisions import FAULTS
from dispatcher.emulator.sqs.long_poll import PolledQueue

WayTo = Callable[..., Awaitable[Any]]

FOREIGN = {
    "invocationStatus": "Completed",
    "inferenceId": "of-another-run",
    "responseParameters": {"outputLocation": "s3://emulator-output/of-another-run.out"},
}
NOT_OURS = (json.dumps(FOREIGN), "not JSON at all", json.dumps({"hello": "world"}))


@asynccontextmanager
async def queue_of(way: Any) -> AsyncIterator[Any]:
    async with open_clients(AwsSettings(), connections=2, access=way.access) as clients:
        yield clients.sqs


async def left_in(sqs: Any, url: str) -> int:
    """Return how many messages a queue holds, received ones included."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    queue = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return sum(int(queue["Attributes"][name]) for name in names)


@pytest.mark.parametrize("body", [True, False], ids=["response-in-event", "output-object"])
async def test_every_event_twice(
    way_to: WayTo, monkeypatch: pytest.MonkeyPatch, body: bool
) -> None:
    way = await way_to(response_in_event=body)
    send = PolledQueue.send

    def send_twice(self: PolledQueue, text: str, **options: Any) -> object:
        send(self, text, **options)
        return send(self, text, **options)

    monkeypatch.setattr(PolledQueue, "send", send_twice)
    wanted = [{"id": f"r{n}", "n": n} for n in range(200)]
    way.write(wanted)
    ending = await way.run()
    assert ending.outstanding == 0
    results = way.results()
    assert len(results) == len(wanted)
    assert {line["key"]: line["output"] for line in results} == {r["id"]: r for r in wanted}
    assert way.dead() == []
    assert way.meter.completed == way.meter.events["matched"] == 200
    # The run does not wait for the last ones.
    assert 100 <= way.meter.events["claimed"] + way.meter.events["closed"] <= 200
    assert way.meter.events.keys() <= {"matched", "claimed", "closed", "test"}


@pytest.mark.parametrize(("foreign", "left"), [("leave", len(NOT_OURS)), ("delete", 0)])
async def test_messages_that_are_not_ours(way_to: WayTo, foreign: str, left: int) -> None:
    way = await way_to()
    way.write([{"id": f"r{n}"} for n in range(50)])
    url = way.emulator.queue_url
    async with queue_of(way) as sqs:
        for text in NOT_OURS:
            await sqs.send_message(QueueUrl=url, MessageBody=text)
        await way.run(completion={"foreign": foreign})
        assert await left_in(sqs, url) == left
    counted = {name: number for name, number in way.meter.events.items() if name != "test"}
    assert counted == {"matched": 50, "foreign": 1, "malformed": 2}
    assert len(way.results()) == 50


class QuickClock:
    """Lets a minute pass in a second."""

    _SPEED = 60

    def __init__(self) -> None:
        self._began = time.time()

    def now(self) -> float:
        return self._began + self._SPEED * (time.time() - self._began)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._SPEED)


LOST = {"lost_event": 1}
FIVE_TIMES = {"duplicate_event": 1, "duplicate_event_copies": 4}
SHUFFLED = {"reordered_event": 1, "reordered_event_window": "30s"}
A_MINUTE_LATE = {"late_event": 1, "late_event_delay": "60s"}
NOT_OURS_AMONG_THEM = {"foreign_event": 1, "malformed_event": 1}
SOME_OF_ALL = {
    "lost_event": 0.2,
    "silent_output": 0.2,
    "duplicate_event": 0.5,
    "duplicate_event_copies": 4,
    "late_event": 0.3,
    "late_event_delay": "60s",
    **SHUFFLED,
    **NOT_OURS_AMONG_THEM,
}
SOON, NEVER = "100ms", "1h"


@pytest.mark.parametrize(
    "packing", [{}, {"framing": "lines", "max_records": 4}], ids=["", "packed"]
)
@pytest.mark.parametrize(
    ("faults", "sweep_after", "by_events"),
    [
        ({}, NEVER, True),
        (LOST, SOON, False),
        (FIVE_TIMES | SHUFFLED, NEVER, True),
        (FIVE_TIMES | SHUFFLED, SOON, None),
        (A_MINUTE_LATE, NEVER, True),
        (A_MINUTE_LATE, SOON, None),
        (NOT_OURS_AMONG_THEM, NEVER, True),
        (SOME_OF_ALL, SOON, None),
    ],
    ids=[
        "undisturbed",
        "all-lost",
        "five-times-and-shuffled",
        "five-times-and-shuffled-and-looked-for",
        "a-minute-late",
        "a-minute-late-and-looked-for",
        "foreign-and-malformed",
        "some-of-all",
    ],
)
async def test_the_results_are_the_same_whatever_becomes_of_the_events(
    way_to: WayTo,
    faults: dict[str, Any],
    sweep_after: str,
    by_events: bool | None,
    packing: dict[str, Any],
) -> None:
    way = await way_to(clock=QuickClock(), faults=faults, service_time=1.0)
    records = [{"id": f"r{n}", "n": n} for n in range(120)]
    way.write(records)
    ending = await way.run(packing=packing, completion={"sweep_after": sweep_after})
    assert ending.outstanding == 0
    wanted = [
        f'{{"key":"{record["id"]}","status":"completed","output":{json.dumps(record)}}}'
        for record in records
    ]
    lines = (way.folder / "results.jsonl").read_text().splitlines()
    assert sorted(lines) == sorted(wanted)
    assert way.dead() == []
    assert (way.meter.read, way.meter.completed, way.meter.repeated) == (120, 120, 0)
    invocations = way.meter.invocations.total()
    if by_events is not None:
        assert way.meter.events["matched"] == (invocations if by_events else 0)
        assert way.meter.sweep_completions == (0 if by_events else invocations)
    struck = way.emulator.faults.struck
    assert struck.keys() == faults.keys() & set(FAULTS)
