"""The queue brings every event twice, and messages that are not for this run."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dispatcher.aws.session import open_clients
from dispatcher.config.settings import AwsSettings
from dispatcher.emulator.mailbox import Mailbox

WayTo = Callable[..., Awaitable[Any]]

FOREIGN = {
    "invocationStatus": "Completed",
    "inferenceId": "somebody-elses",
    "responseParameters": {"outputLocation": "s3://emulator-output/somebody-elses.out"},
}
NOT_OURS = (json.dumps(FOREIGN), "not JSON at all", json.dumps({"hello": "world"}))


@asynccontextmanager
async def queue_of(way: Any) -> AsyncIterator[Any]:
    async with open_clients(AwsSettings(), connections=2, access=way.access) as clients:
        yield clients.sqs


async def left_in(sqs: Any, url: str) -> int:
    """Return how many messages a queue holds, received ones included."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    told = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return sum(int(told["Attributes"][name]) for name in names)


@pytest.mark.parametrize("body", [True, False], ids=["response-in-event", "output-object"])
async def test_every_event_twice(
    way_to: WayTo, monkeypatch: pytest.MonkeyPatch, body: bool
) -> None:
    way = await way_to(response_in_event=body)
    send = Mailbox.send

    def send_twice(self: Mailbox, text: str, **options: Any) -> object:
        send(self, text, **options)
        return send(self, text, **options)

    monkeypatch.setattr(Mailbox, "send", send_twice)
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
    assert 100 <= way.meter.events["duplicate"] <= 200
    assert way.meter.events.keys() <= {"matched", "duplicate", "test"}


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
