"""Queues: both transports and the double do the same, and report the same errors."""

import json
from collections.abc import Awaitable, Callable, Mapping

import anyio
import pytest

from dispatcher import limits
from dispatcher.aws.queue import Queue
from dispatcher.aws.transport import Transport
from dispatcher.errors import CallError, Denied, Rejected
from tests.contracts.conftest import Place, QueueCalls, verdict
from tests.doubles import FakeQueue
from tests.virtual_time import now

BODIES = [
    "plain",
    json.dumps({"a": [1, "\u00e9\n", None]}),
    "schön 日本語 🙂",
    "e\u0301",
    " \t\r\n blanks ",
    "\"quoted\" 'quoted' \\ / <xml>&amp;</xml>",
    "\u007f\u0080\ufffd\ue000",
    "%20+%2F",
    "x" * 20_000,
    "0",
]


async def drain(queue: QueueCalls, count: int) -> dict[str, str]:
    """Receive a number of messages; return receipts by body."""
    got: dict[str, str] = {}
    while len(got) < count:
        messages = await queue.receive()
        assert 1 <= len(messages) <= 10
        got |= {message.body: message.receipt for message in messages}
    return got


def refused(failed: Mapping[int, CallError]) -> list[int]:
    """Return which entries failed, all of them by their own fault."""
    assert all(isinstance(error, Rejected) for error in failed.values())
    return list(failed)


async def test_the_double_delivers_ten_bodies_of_any_kind() -> None:
    double = FakeQueue()
    assert await double.send(BODIES) == {}
    got = await drain(double, len(BODIES))
    assert got.keys() == set(BODIES)
    assert await double.delete(list(got.values())) == {}
    assert double.messages.counts(now()) == (0, 0, 0)


async def test_ten_bodies_of_any_kind(transport: Transport, queue_url: str) -> None:
    queue = transport.queue(queue_url)
    assert await queue.send(BODIES) == {}
    got = await drain(queue, len(BODIES))
    assert got.keys() == set(BODIES)
    # They are the same to the other client.
    response = await transport.clients.sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
    )
    assert response["Attributes"] == {"ApproximateNumberOfMessagesNotVisible": str(len(BODIES))}
    assert await queue.delete(list(got.values())) == {}
    response = await transport.clients.sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
    )
    assert response["Attributes"] == {"ApproximateNumberOfMessagesNotVisible": "0"}


async def test_a_long_poll_of_a_quiet_queue(sqs: QueueCalls) -> None:
    assert await sqs.receive(wait=1) == []


async def test_a_message_keeps_its_name(sqs: QueueCalls) -> None:
    await sqs.send(["a"])
    (first,) = await sqs.receive()
    assert await sqs.change_visibility([(first.receipt, 0)]) == {}
    (second,) = await sqs.receive()
    assert (second.id, second.body) == (first.id, "a")
    assert second.receipt != first.receipt


async def test_a_queue_shows_its_attributes(sqs: QueueCalls) -> None:
    await sqs.send(["a", "b"])
    await sqs.receive()
    shown = await sqs.attributes()
    assert shown is not None
    assert {name: int(value) for name, value in shown.items() if name != "RedrivePolicy"} == {
        "ApproximateNumberOfMessages": 0,
        "ApproximateNumberOfMessagesDelayed": 0,
        "ApproximateNumberOfMessagesNotVisible": 2,
        "MaximumMessageSize": limits.SQS_BATCH_BYTES,
        "MessageRetentionPeriod": 345_600,
        "VisibilityTimeout": 30,
    }


async def test_attributes_without_permission_are_none(boxed: Place, transport_name: str) -> None:
    async with boxed.connect(transport_name, key_id="denied") as transport:
        url = f"{boxed.access.endpoint_url}/000000000000/completions"
        assert await transport.queue(url).attributes() is None


async def test_a_long_poll_ends_when_a_message_comes(sqs: QueueCalls) -> None:
    with anyio.fail_after(limits.SQS_LONG_POLL_SECONDS / 2):
        async with anyio.create_task_group() as group:
            group.start_soon(sqs.send, ["at last"])
            assert [message.body for message in await sqs.receive()] == ["at last"]


async def test_a_message_may_be_given_back(sqs: QueueCalls) -> None:
    await sqs.send(["a", "b", "c"])
    first = await drain(sqs, 3)
    assert await sqs.change_visibility([(first["a"], 0), (first["b"], 600)]) == {}
    second = await drain(sqs, 1)
    assert second.keys() == {"a"}
    assert await sqs.delete([second["a"], first["b"], first["c"]]) == {}


async def test_receipts_that_are_none_come_back(sqs: QueueCalls) -> None:
    await sqs.send(["a", "b"])
    got = await drain(sqs, 2)
    changes = [(got["a"], 60), ("no receipt", 60), (got["b"], 60)]
    assert refused(await sqs.change_visibility(changes)) == [1]
    assert refused(await sqs.delete([got["a"], "no receipt", got["b"]])) == [1]


async def test_a_receipt_of_a_message_that_is_gone(exact_sqs: QueueCalls) -> None:
    """Deleting it once more is a success, hiding it is none; moto calls both mistakes."""
    await exact_sqs.send(["a"])
    receipt = (await drain(exact_sqs, 1))["a"]
    assert await exact_sqs.delete([receipt]) == {}
    assert await exact_sqs.delete([receipt]) == {}
    assert refused(await exact_sqs.change_visibility([(receipt, 60)])) == [0]


async def test_bodies_that_cannot_be_sent_come_back(exact_sqs: QueueCalls) -> None:
    """moto refuses the whole batch."""
    assert refused(await exact_sqs.send(["a", "\u000b", "b", "\ufffe"])) == [1, 3]
    assert (await drain(exact_sqs, 2)).keys() == {"a", "b"}


CALLS: dict[str, Callable[[Queue], Awaitable[object]]] = {
    "receive": lambda queue: queue.receive(),
    "delete": lambda queue: queue.delete(["receipt"]),
    "send": lambda queue: queue.send(["body"]),
    "change-visibility": lambda queue: queue.change_visibility([("receipt", 60)]),
}
CALLS_AND_ATTRIBUTES = {**CALLS, "attributes": lambda queue: queue.attributes()}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.mark.parametrize("call", CALLS_AND_ATTRIBUTES.values(), ids=CALLS_AND_ATTRIBUTES)
async def test_a_queue_that_is_not_there(
    transport: Transport, call: Callable[[Queue], Awaitable[object]]
) -> None:
    url = f"{transport.clients.sqs.meta.endpoint_url}/123456789012/no-such-queue"
    assert await verdict(call(transport.queue(url))) == (Denied, "")


@each_call
async def test_who_may_do_nothing(
    boxed: Place, transport_name: str, call: Callable[[Queue], Awaitable[object]]
) -> None:
    async with boxed.connect(transport_name, key_id="denied") as transport:
        url = f"{boxed.access.endpoint_url}/000000000000/completions"
        assert await verdict(call(transport.queue(url))) == (Denied, "AccessDeniedException")


@each_call
async def test_who_is_not_known(
    boxed: Place, transport_name: str, call: Callable[[Queue], Awaitable[object]]
) -> None:
    async with boxed.connect(transport_name, key_id="nobody") as transport:
        url = f"{boxed.access.endpoint_url}/000000000000/completions"
        assert await verdict(call(transport.queue(url))) == (Denied, "InvalidClientTokenId")


# aiohttp warns of what blocks the loop: aiobotocore hands it these bodies in one piece.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda q: q.send([str(n) for n in range(11)]), "TooManyEntriesInBatchRequest"),
        (lambda q: q.delete([str(n) for n in range(11)]), "TooManyEntriesInBatchRequest"),
        (lambda q: q.send([]), "EmptyBatchRequest"),
        (lambda q: q.delete([]), "EmptyBatchRequest"),
        (lambda q: q.send(10 * [(1 << 17) * "x"]), "BatchRequestTooLong"),
    ],
    ids=["eleven-sent", "eleven-deleted", "none-sent", "none-deleted", "too-long"],
)
async def test_batches_that_are_refused_whole(
    exact_sqs: QueueCalls, call: Callable[[QueueCalls], Awaitable[object]], code: str
) -> None:
    """moto deletes eleven at once."""
    said = await verdict(call(exact_sqs))
    assert said == (Rejected, f"AWS.SimpleQueueService.{code}")
