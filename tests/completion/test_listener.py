"""The listener claims and deletes messages about its invocations, and leaves others alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from dispatcher.completion.joiner import Claimed
from dispatcher.completion.listener import Listener, acknowledge
from dispatcher.errors import CallError, Denied, Rejected, Throttled, Transient

if TYPE_CHECKING:
    from tests.completion.scene import OpenScene, Scene

FOREIGN = json.dumps({"invocationStatus": "Completed", "inferenceId": "somebody-elses"})
TEST = json.dumps({"eventSource": "aws:sagemaker", "eventName": "TestNotification"})


def make_listener(scene: Scene, drained: anyio.Event) -> Listener:
    return Listener(
        ledger=scene.ledger,
        queue=scene.queue,
        foreign=scene.config.completion.foreign,
        outage=scene.outage,
        observe=scene.meter.observe,
        heard=scene.hear,
        drained=drained,
    )


async def listen(scene: Scene, seconds: float = 1.0) -> tuple[list[Claimed], list[str]]:
    """Listen for a while; return what was claimed and what may be deleted at once."""
    claims, to_join = anyio.create_memory_object_stream[Claimed](100)
    receipts, to_delete = anyio.create_memory_object_stream[list[str]](100)
    listener = make_listener(scene, anyio.Event())
    with to_join, to_delete:
        with anyio.move_on_after(seconds):
            await listener.run(claims, receipts)
        return (
            [one async for one in to_join],
            [receipt async for some in to_delete for receipt in some],
        )


async def test_an_event_of_ours_is_claimed_with_its_receipt(scene: Scene) -> None:
    one, two = await scene.accepted(2)
    times = {"receivedTime": "2023-01-29T16:00:00Z", "eventTime": "2023-01-29T16:00:02Z"}
    scene.queue.batches = [[scene.event(two, **times)], [scene.event(one)]]
    claims, deleted = await listen(scene)
    assert [claimed.entry for claimed in claims] == [two, one]
    assert [claimed.completion.kind for claimed in claims] == ["completed"] * 2
    assert (one.claimed, two.claimed) == (True, True)
    assert (two.acks, one.acks) == (["receipt-0"], ["receipt-1"])
    assert deleted == [], "acknowledged only once it is durable"
    assert scene.meter.events == {"matched": 2}
    assert (scene.meter.service_latency.count, scene.meter.service_latency.total) == (1, 2.0)


async def test_every_event_of_this_run_is_passed_on_before_it_is_claimed(scene: Scene) -> None:
    one, settled = await scene.accepted(2)
    assert scene.ledger.claim(settled)
    await scene.settle(settled)
    scene.queue.batches = [[scene.event(one), scene.event(one), scene.event(settled), FOREIGN]]
    await listen(scene)
    assert scene.heard == [(one, False), (one, True), (None, False)]


async def test_an_event_that_overtakes_the_answer_is_claimed_too(scene: Scene) -> None:
    (entry,) = await scene.plan(1)
    scene.queue.batches = [[scene.event(entry)]]
    claims, _ = await listen(scene)
    assert [claimed.entry for claimed in claims] == [entry]


async def test_a_duplicate_of_what_is_being_settled_goes_with_it(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    scene.queue.batches = [[scene.event(entry), scene.event(entry)], [scene.event(entry)]]
    claims, deleted = await listen(scene)
    assert len(claims) == 1
    assert entry.acks == ["receipt-0", "receipt-1", "receipt-2"]
    assert deleted == []
    assert scene.meter.events == {"matched": 1, "claimed": 2}


async def test_an_event_of_what_is_settled_is_deleted_at_once(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    await scene.settle(entry)
    scene.queue.batches = [[scene.event(entry)]]
    claims, deleted = await listen(scene)
    assert (claims, deleted) == ([], ["receipt-0"])
    assert scene.meter.events == {"closed": 1}


async def test_a_redelivered_event_of_what_was_given_back_is_claimed_again(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    scene.queue.batches = [[scene.event(entry)]]
    await listen(scene)
    entry.claimed = False
    scene.queue.batches = [[scene.event(entry)]]
    claims, _ = await listen(scene)
    assert [claimed.entry for claimed in claims] == [entry]
    assert entry.acks == ["receipt-0", "receipt-1"]


@pytest.mark.parametrize(("foreign", "deleted"), [("leave", []), ("delete", ["receipt-0"])])
@pytest.mark.parametrize(
    ("body", "counter"),
    [
        (FOREIGN, "foreign"),
        ("not an event", "malformed"),
        (json.dumps({"invocationStatus": "Completed"}), "foreign"),
        (json.dumps({"invocationStatus": "Completed", "inferenceId": 5}), "foreign"),
        (
            json.dumps({"detail": {"bucket": {"name": "b"}, "object": {"key": "staged/x"}}}),
            "foreign",
        ),
    ],
)
async def test_what_is_not_ours_is_left_or_deleted_as_configured(
    open_scene: OpenScene, body: str, counter: str, foreign: str, deleted: list[str]
) -> None:
    async with open_scene(completion={"foreign": foreign}) as scene:
        scene.queue.batches = [[body]]
        assert await listen(scene) == ([], deleted)
        assert scene.meter.events == {counter: 1}


async def test_a_test_event_is_deleted(scene: Scene) -> None:
    scene.queue.batches = [[TEST]]
    assert await listen(scene) == ([], ["receipt-0"])
    assert scene.meter.events == {"test": 1}


async def test_an_s3_event_settles_each_object_it_names(scene: Scene) -> None:
    one, two = await scene.accepted(2)
    records = [
        {"s3": {"bucket": {"name": "out"}, "object": {"key": f"results/{e.planned.id}.out"}}}
        for e in (one, two)
    ]
    scene.queue.batches = [[json.dumps({"Records": records})]]
    claims, deleted = await listen(scene)
    assert [claimed.entry for claimed in claims] == [one, two]
    assert [claimed.completion.location for claimed in claims] != [None, None]
    assert deleted == []


async def test_a_message_with_a_part_that_is_being_settled_stays(scene: Scene) -> None:
    settled, under_way = await scene.accepted(2)
    await scene.settle(settled)
    assert scene.ledger.claim(under_way)
    records = [
        {"s3": {"bucket": {"name": "out"}, "object": {"key": f"results/{e.planned.id}.out"}}}
        for e in (settled, under_way)
    ]
    scene.queue.batches = [[json.dumps({"Records": records})]]
    assert await listen(scene) == ([], [])
    assert under_way.acks == ["receipt-0"]


@pytest.mark.parametrize("error", [Transient("503"), Throttled("slow"), Rejected("odd")])
async def test_a_queue_that_fails_is_asked_again_after_a_pause(
    scene: Scene, error: CallError
) -> None:
    (entry,) = await scene.accepted()
    scene.queue.batches = [error, error, [scene.event(entry)]]
    claims, _ = await listen(scene, seconds=1.9)
    assert claims == []
    scene.queue.batches = [error, error, [scene.event(entry)]]
    claims, _ = await listen(scene, seconds=2.1)
    assert len(claims) == 1


async def test_a_queue_that_may_not_be_read_stops_the_run(scene: Scene) -> None:
    scene.queue.batches = [Denied("sqs:ReceiveMessage")]
    with pytest.raises(Denied, match="sqs:ReceiveMessage"):
        await listen(scene)


async def acknowledge_all(scene: Scene, *groups: list[str]) -> None:
    receipts, to_delete = anyio.create_memory_object_stream[list[str]](100)
    with receipts:
        for group in groups:
            receipts.send_nowait(group)
    await acknowledge(scene.queue, to_delete)


async def test_receipts_are_deleted_ten_a_call(scene: Scene) -> None:
    receipts = [f"r{n}" for n in range(27)]
    await acknowledge_all(scene, receipts[:1], receipts[1:4], receipts[4:25], receipts[25:])
    assert [len(batch) for batch in scene.queue.deleted] == [10, 10, 5, 2]
    assert [receipt for batch in scene.queue.deleted for receipt in batch] == receipts


async def test_what_cannot_be_deleted_does_not_stop_the_others(scene: Scene) -> None:
    scene.queue.faults = [Transient("503"), Rejected("ReceiptHandleIsInvalid")]
    await acknowledge_all(scene, [f"r{n}" for n in range(25)])
    assert scene.queue.deleted == [["r20", "r21", "r22", "r23", "r24"]]


async def test_not_being_allowed_to_delete_stops_the_run(scene: Scene) -> None:
    scene.queue.faults = [Denied("sqs:DeleteMessage")]
    with pytest.raises(Denied, match="sqs:DeleteMessage"):
        await acknowledge_all(scene, ["r"])


SERVICE_NAMED = ("s3://out/0b5c.out", "s3://out/0b5c-error.out")


@pytest.mark.parametrize("at", SERVICE_NAMED)
async def test_an_output_that_the_service_named_is_known_by_its_location(
    scene: Scene, at: str
) -> None:
    (entry,) = await scene.plan(1)
    scene.ledger.accept(entry.planned, 1.0, *SERVICE_NAMED)
    key = at.removeprefix("s3://out/")
    records = [
        {"s3": {"bucket": {"name": "out"}, "object": {"key": name}}} for name in (key, "0b5d.out")
    ]
    scene.queue.batches = [[json.dumps({"Records": [record]}) for record in records]]
    claimed, _ = await listen(scene)
    assert [one.entry for one in claimed] == [entry]
    assert scene.meter.events == {"matched": 1, "foreign": 1}
    await scene.settle(entry)
    assert scene.ledger.find_output(at) is None


async def test_the_first_empty_answer_says_that_the_queue_is_drained(scene: Scene) -> None:
    entries = await scene.accepted(2)
    scene.queue.batches = [[scene.event(entries[0])], [scene.event(entries[1])], [], []]
    drained = anyio.Event()
    listener = make_listener(scene, drained)
    claims, claimed = anyio.create_memory_object_stream[Claimed](10)
    receipts, deleted = anyio.create_memory_object_stream[list[str]](10)
    async with claimed, deleted, anyio.create_task_group() as group:
        group.start_soon(listener.run, claims, receipts)
        with anyio.fail_after(10):
            await drained.wait()
        assert all(entry.claimed for entry in entries), "what was heard is claimed by then"
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert scene.queue.waits[:4] == [1, 1, 1, None]
