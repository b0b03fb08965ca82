"""A queue as a source, hour by hour: what it delivers stays hidden until it is settled."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from dispatcher.config.connectors import SourceSettings
from dispatcher.connectors.sqs import source as sqs
from dispatcher.connectors.sqs.source import SqsSource
from dispatcher.environment import Environment
from dispatcher.errors import CallError, ConfigError, Denied, Rejected, RunStopped
from dispatcher.records.record import Item, Position, Record
from dispatcher.records.source import Source
from dispatcher.retry.outage_timer import OutageTimer
from tests.connectors.sqs.queue import FAILED, URL, Log
from tests.doubles import STALE, FakeQueue
from tests.virtual_time import now

Opened = Callable[..., object]


def make(
    queue: FakeQueue, log: Log | None = None, give_up_after: float = 3_600.0, **settings: object
) -> SqsSource:
    return SqsSource(
        settings=SourceSettings.model_validate({"type": "sqs", "queue_url": URL, **settings}),
        queue=queue,
        message_log=log or Log(),
        outage_timer=OutageTimer(
            give_up_after=give_up_after, monotonic=now, symptom=f"{URL} could not be received from"
        ),
        environment=Environment(monotonic=now, now=now, rng=random.Random(7)),
    )


@asynccontextmanager
async def running(source: SqsSource) -> AsyncIterator[Source]:
    """Run a source beside the block, to its finish."""
    await source.open({}, {})
    async with anyio.create_task_group() as group:
        group.start_soon(source.run)
        yield source
        await source.finish()


async def read(source: Source, count: int) -> list[Item]:
    items: list[Item] = []
    with anyio.fail_after(100):
        while len(items) < count:
            items += await source.read()
    return items


def positions(items: list[Item]) -> list[Position]:
    return [item.position for item in items]


async def test_messages_are_records_numbered_in_their_order() -> None:
    queue = FakeQueue()
    queue.add('{"id": 1}', '{"id": "two"}', '{"id":\n3}')
    async with running(make(queue, Log(5), key="id")) as source:
        items = await read(source, 3)
        assert [(type(item), item.key, item.raw) for item in items] == [
            (Record, 1, b'{"id": 1}'),
            (Record, "two", b'{"id": "two"}'),
            (Record, 3, b'{"id": 3}'),
        ]
        assert positions(items) == [
            Position(URL, n, n + 1, n + 1, f"id-{body}")
            for n, body in ((5, '{"id": 1}'), (6, '{"id": "two"}'), (7, '{"id":\n3}'))
        ]
        assert (source.bytes_read, source.bytes_expected) == (31, None)


async def test_a_message_stays_hidden_for_hours_and_is_deleted_when_it_is_settled() -> None:
    queue = FakeQueue()
    queue.add(*(str(n) for n in range(25)))
    async with running(make(queue)) as source:
        items = await read(source, 25)
        for _ in range(60):
            await anyio.sleep(60)
            assert queue.messages.counts(now()) == (0, 25, 0)
        assert max(message.receives for message in queue.messages._messages.values()) == 1
        source.acknowledge(positions(items[:20]))
        await anyio.sleep(1)
        assert queue.messages.counts(now()) == (0, 5, 0)
    deletions = [entries for name, entries in queue.calls if name == "delete"]
    assert deletions == [10, 10]
    beats = [entries for name, entries in queue.calls if name == "change_visibility"]
    assert sum(beats) / len(beats) > 5, "messages share calls"
    # Each about every 12.5 of 30 seconds.
    assert 25 * 3_600 / 15 <= sum(beats) <= 25 * 3_600 / 10 * 1.1


async def test_after_twelve_hours_it_comes_again_and_is_not_read_again() -> None:
    queue = FakeQueue(visibility=600)
    queue.add("1")
    async with running(make(queue)) as source:
        (item,) = await read(source, 1)
        (message,) = queue.messages._messages.values()
        await anyio.sleep(13 * 3_600)
        assert message.receives == 2
        assert now() - message.first_received > 43_200
        source.acknowledge([item.position])
        await anyio.sleep(1)
    assert queue.messages.counts(now()) == (0, 0, 0)


async def test_a_stale_receipt_is_replaced_by_that_of_the_next_delivery() -> None:
    queue = FakeQueue(wrong={"change_visibility": [{0: STALE}]})
    queue.add("1")
    async with running(make(queue)) as source:
        (item,) = await read(source, 1)
        await anyio.sleep(100)
        (message,) = queue.messages._messages.values()
        assert message.receives == 2
        source.acknowledge([item.position])
        await anyio.sleep(1)
        assert queue.messages.counts(now()) == (0, 0, 0)


async def test_hiding_and_deleting_are_tried_again() -> None:
    wrong: dict[str, list[CallError | dict[int, CallError] | None]] = {
        "change_visibility": [FAILED, {0: FAILED}],
        "delete": [FAILED, {0: FAILED, 2: FAILED}, {1: STALE}],
        "receive": [FAILED, FAILED],
        "attributes": [FAILED],
    }
    queue = FakeQueue(wrong=wrong)
    queue.add("1", "2", "3")
    async with running(make(queue)) as source:
        items = await read(source, 3)
        await anyio.sleep(29)
        assert all(message.receives == 1 for message in queue.messages._messages.values())
        source.acknowledge(positions(items))
        await anyio.sleep(5)
        # The receipt that was called stale is left to the next delivery.
        assert queue.messages.counts(now()) == (0, 1, 0)
        await anyio.sleep(60)
        assert queue.messages.counts(now()) == (0, 0, 0)
    assert not any(wrong.values())


async def test_no_more_is_received_than_may_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqs, "MAX_UNREAD_MESSAGES", 50)
    queue = FakeQueue()
    queue.add(*(str(n) for n in range(200)))
    async with running(make(queue, receivers=3)) as source:
        await anyio.sleep(600)
        assert 50 <= queue.messages.counts(now())[1] <= 70
        assert len(await read(source, 200)) == 200


async def test_nor_than_fits_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs, "MAX_UNREAD_BYTES", 30_000)
    queue = FakeQueue()
    queue.add(*(f'"{n:03}{"x" * 1_000}"' for n in range(100)))
    async with running(make(queue, receivers=1)) as source:
        await anyio.sleep(60)
        assert 30_000 <= sum(len(item.raw) for item in await source.read()) <= 41_000


async def test_nor_than_can_be_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs, "MAX_UNDELETED", 20)
    queue = FakeQueue(wrong={"delete": [FAILED] * 100})
    queue.add(*(str(n) for n in range(200)))
    async with running(make(queue, receivers=1)) as source:
        got = 0
        with anyio.move_on_after(10):
            while items := await source.read():
                got += len(items)
                source.acknowledge(positions(items))
        assert 20 <= got <= 40


async def test_it_ends_when_the_queue_gave_nothing_and_all_is_settled() -> None:
    queue = FakeQueue()
    queue.add("1", "2")
    began = now()
    async with running(make(queue, until_empty="5s")) as source:
        items = await read(source, 2)
        async with anyio.create_task_group() as group:
            group.start_soon(end, source)
            await anyio.sleep(60)
            source.acknowledge(positions(items[:1]))
            await anyio.sleep(60)
            source.acknowledge(positions(items[1:]))
        assert 120 <= now() - began <= 131
        assert await source.read() == []
    assert queue.messages.counts(now()) == (0, 0, 0)


async def end(source: Source) -> None:
    """Read to the end, of which nothing is left."""
    assert await source.read() == []


@pytest.mark.parametrize(
    ("hidden_for", "extra_attributes", "ends_after"),
    [
        (None, {}, (5, 6)),
        (20, {}, (25, 31)),  # it comes again, and is a record like any other
        (3_600, {}, (30, 36)),  # in the hands of a process that lives
        (None, None, (30, 36)),  # the attributes may not be read
    ],
)
async def test_what_another_process_had_in_hand_is_waited_for(
    hidden_for: int | None, extra_attributes: dict[str, str] | None, ends_after: tuple[int, int]
) -> None:
    queue = FakeQueue(extra_attributes=extra_attributes)
    if hidden_for is not None:
        queue.add("1")
        queue.messages.receive(1, now=now(), visibility=hidden_for)
    began = now()
    async with running(make(queue, until_empty="5s")) as source:
        while items := await source.read():
            source.acknowledge(positions(items))
        assert ends_after[0] <= now() - began <= ends_after[1]


async def test_messages_whose_receive_was_not_answered_are_waited_for() -> None:
    queue = FakeQueue(extra_attributes=None)
    queue.add("1")
    async with running(make(queue, until_empty="5s")) as source:
        first = await read(source, 1)
        await anyio.sleep(60)
        queue.wrong["receive"] = [FAILED]
        queue.add("2")
        queue.messages.receive(1, now=now())  # the response was lost
        source.acknowledge(positions(first))
        (second,) = await source.read()
        assert second.position.message == "id-2"
        source.acknowledge([second.position])


async def test_a_queue_with_too_much_in_flight_to_give_more_is_not_empty() -> None:
    extra_attributes = {"ApproximateNumberOfMessages": "1"}
    queue = FakeQueue(extra_attributes=extra_attributes)
    began = now()
    async with running(make(queue, until_empty="5s")) as source, anyio.create_task_group() as group:
        group.start_soon(end, source)
        await anyio.sleep(600)
        extra_attributes.clear()
    assert 600 <= now() - began <= 606


async def test_without_an_end_it_waits_without_limit() -> None:
    queue = FakeQueue()
    async with running(make(queue)) as source:
        with anyio.move_on_after(6 * 3_600):
            await source.read()
            pytest.fail("there was nothing to read")
        queue.add("1")
        assert len(await read(source, 1)) == 1


async def test_what_earlier_processes_knew_is_read_once_or_only_deleted() -> None:
    old = Position(URL, 3, 4, 4, "id-old")
    log = Log(9, {"id-old": old, "id-unseen": Position(URL, 4, 5, 5, "id-unseen")}, {"id-2": now()})
    queue = FakeQueue()
    queue.add("2", "3")
    queue.messages.send('"old"', message_id="id-old", now=now())
    async with running(make(queue, log, until_empty="2s")) as source:
        items = await read(source, 2)
        assert positions(items) == [Position(URL, 9, 10, 10, "id-3"), old]
        source.acknowledge([*positions(items), log.outstanding["id-unseen"]])
        assert await source.read() == []
        await anyio.sleep(1)
        assert queue.messages.counts(now()) == (0, 0, 0)
        await anyio.sleep(400)
    assert sorted(log.forgotten) == ["id-2", "id-3", "id-old"]


async def test_one_that_is_settled_before_it_is_read_is_not_read() -> None:
    old = Position(URL, 3, 4, 4, "id-1")
    queue = FakeQueue()
    queue.add("1")
    async with running(make(queue, Log(9, {"id-1": old}))) as source:
        await anyio.sleep(1)
        source.acknowledge([old])
        queue.add("2")
        (item,) = await read(source, 1)
        assert item.raw == b"2"
        await anyio.sleep(1)
        assert queue.messages.counts(now())[1] == 1


async def test_what_was_not_read_is_given_back_at_a_stop_and_what_was_read_is_not() -> None:
    queue = FakeQueue()
    queue.add("1", "2")
    async with running(make(queue)) as source:
        await read(source, 2)
        queue.add("3", "4")
        await anyio.sleep(1)
        assert queue.messages.counts(now()) == (0, 4, 0)
        source.stop()
        assert await source.read() == []
        await anyio.sleep(2)
        assert queue.polls == 0
    assert queue.messages.counts(now()) == (2, 2, 0)


async def test_a_finish_waits_for_the_deletions_but_not_without_limit() -> None:
    queue = FakeQueue(wrong={"delete": [FAILED] * 1_000})
    queue.add("1")
    async with running(make(queue)) as source:
        source.acknowledge(positions(await read(source, 1)))
        began = now()
        await source.finish()
        assert now() - began == pytest.approx(sqs.FINISH_SECONDS, abs=2)
        queue.wrong.clear()


async def test_a_queue_that_does_not_answer_ends_the_run() -> None:
    queue = FakeQueue(wrong={"receive": [FAILED] * 100})
    began = now()
    with pytest.raises(ExceptionGroup) as raised:
        async with running(make(queue, give_up_after=5.0)) as source:
            await source.read()
    assert raised.group_contains(RunStopped, match="could not be received from")
    assert 5 <= now() - began <= 7


async def test_one_that_may_not_be_received_from_ends_it_at_once() -> None:
    queue = FakeQueue()
    denied = Denied("no")

    async def refuse(**_: object) -> list[object]:
        raise denied

    queue.receive = refuse  # type: ignore[method-assign,assignment]
    with pytest.raises(ExceptionGroup) as raised:
        async with running(make(queue)) as source:
            await source.read()
    assert raised.group_contains(Denied)


async def test_a_queue_that_hides_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="VisibilityTimeout of 0"):
        await make(FakeQueue(visibility=0)).open({}, {})


async def test_a_queue_that_is_none_is_refused() -> None:
    queue = FakeQueue(wrong={"attributes": [Rejected("no queue")]})
    with pytest.raises(ConfigError, match=r"source\.queue_url: no queue"):
        await make(queue).open({}, {})
