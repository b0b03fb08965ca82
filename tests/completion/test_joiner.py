"""Outputs become one outcome a record; what cannot be read for now waits for a later chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from dispatcher.aws.location import parse_location
from dispatcher.completion.event import Completion, Kind
from dispatcher.completion.joiner import Claimed
from dispatcher.errors import (
    CallError,
    StateError,
    Throttled,
    Transient,
)
from dispatcher.flow.budget import MemoryBudget
from dispatcher.ledger.outcome import Meta, Settlement
from dispatcher.ledger.states import State
from tests.completion.scene import completed

if TYPE_CHECKING:
    from tests.completion.scene import OpenScene, Scene

LINES = {"framing": "lines", "max_records": 10}


async def test_outputs_of_several_records_are_paired_in_order(open_scene: OpenScene) -> None:
    async with open_scene(packing=LINES, sink={"join": "both"}) as scene:
        (entry,) = await scene.plan(3)
        outcomes = await scene.join(entry, completed(entry, body=b"[10, 11, 12]"))
        assert outcomes is not None
        assert [(o.key, o.output, o.input) for o in outcomes] == [
            ("key-0", b"10", b'{"n":0}'),
            ("key-1", b"11", b'{"n":1}'),
            ("key-2", b"12", b'{"n":2}'),
        ]


@pytest.mark.parametrize(
    ("body", "reason"), [(b"[10, 11]", "count_mismatch"), (b"oops {", "bad_answer")]
)
async def test_a_wrong_number_of_outputs_makes_all_dead_letters_with_their_inputs(
    open_scene: OpenScene, body: bytes, reason: str
) -> None:
    async with open_scene(packing=LINES, retry={"bisection": 0}) as scene:
        (entry,) = await scene.plan(3)
        outcomes = await scene.join(entry, completed(entry, body=body))
        assert outcomes is not None
        assert [(o.status, o.reason) for o in outcomes] == [("failed", reason)] * 3
        assert [o.input for o in outcomes] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


@pytest.mark.parametrize(
    ("reason", "body", "there", "message"),
    [
        ("ClientError: 400", None, None, "ClientError: 400"),
        ("ClientError: 400", b"bad row", None, "ClientError: 400; bad row"),
        ("", None, b"Traceback\xff", "Traceback\N{REPLACEMENT CHARACTER}"),
        ("", None, None, "the container failed and left no message"),
        ("", b"x" * 9000, None, "x" * 2000),
    ],
)
async def test_a_failure_shows_the_error_of_the_container(
    scene: Scene, reason: str, body: bytes | None, there: bytes | None, message: str
) -> None:
    (entry,) = await scene.accepted()
    if there is not None:
        scene.bucket.objects[scene.failure_of(entry)] = there, "text/plain"
    completion = Completion(
        "failed", entry.planned.id, None, body=body, content_type=None, reason=reason
    )
    outcomes = await scene.join(entry, completion)
    assert outcomes is not None
    (outcome,) = outcomes
    assert (outcome.status, outcome.message) == ("failed", message)
    assert outcome.input == b'{"n":0}'


async def test_expired(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    outcomes = await scene.join(entry, Completion("expired", entry.planned.id, None))
    assert outcomes is not None
    assert (outcomes[0].status, outcomes[0].reason) == ("expired", "expired")
    assert outcomes[0].input == b'{"n":0}'
    assert scene.bucket.opened == []


async def test_meta_shows_how_a_record_travelled(open_scene: OpenScene) -> None:
    async with open_scene(sink={"meta": True, "join": "input"}) as scene:
        (entry,) = await scene.accepted()
        planned_at = scene.now()
        await anyio.sleep(7)
        outcomes = await scene.join(entry, completed(entry, body=b"1"))
        assert outcomes is not None
        assert outcomes[0].meta == Meta(
            entry.planned.id, "inline", planned_at, planned_at, planned_at + 7
        )
        assert outcomes[0].input == b'{"n":0}'


async def run(scene: Scene, *claims: Claimed) -> list[Settlement]:
    give, to_join = anyio.create_memory_object_stream[Claimed](10)
    settlements, joined = anyio.create_memory_object_stream[list[Settlement]](10)
    receipts, to_delete = anyio.create_memory_object_stream[list[str]](10)
    async with give, joined, to_delete:
        for claimed in claims:
            assert scene.ledger.claim(claimed.entry)
            give.send_nowait(claimed)
        give.close()
        await scene.joiner.run(to_join, settlements, receipts)
        return [settlement async for group in joined for settlement in group]


@pytest.mark.parametrize("error", [Transient("503"), Throttled("slow")])
async def test_what_cannot_be_read_for_now_is_given_back(scene: Scene, error: CallError) -> None:
    unread, read = await scene.accepted(2)
    scene.bucket.open_faults = [error] * 5
    settlements = await run(
        scene, Claimed(unread, completed(unread)), Claimed(read, completed(read, body=b"1"))
    )
    assert [settlement.entry for settlement in settlements] == [read]
    assert (unread.claimed, read.claimed) == (False, True)
    assert unread.output == scene.output_of(unread)


@pytest.mark.parametrize(
    ("kind", "output", "failure"),
    [("completed", "s3://out/x.out", None), ("failed", None, "s3://out/x.out")],
)
async def test_what_overtook_its_response_and_is_given_back_is_known_as_accepted(
    scene: Scene, kind: Kind, output: str | None, failure: str | None
) -> None:
    (entry,) = await scene.plan(1)
    scene.bucket.open_faults = [Transient("503")] * 5
    completion = Completion(kind, entry.planned.id, parse_location("s3://out/x.out"))
    assert await run(scene, Claimed(entry, completion)) == []
    assert not entry.claimed
    assert entry.state is State.ACCEPTED
    assert (entry.output, entry.failure) == (output, failure)
    assert scene.ledger.accepted() == [entry]


async def test_a_payload_that_is_read_again_holds_its_outcome_back(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    entry.payload = None
    assert await scene.join(entry, completed(entry, body=b"1")) is None


async def test_an_output_keeps_its_memory_until_it_is_written(scene: Scene) -> None:
    entries = await scene.accepted(2)
    for entry in entries:
        scene.bucket.objects[scene.output_of(entry)] = b"x" * 80, None
    scene.memory = scene.joiner.memory = MemoryBudget(100)
    give, to_join = anyio.create_memory_object_stream[Claimed](2)
    settlements, joined = anyio.create_memory_object_stream[list[Settlement]](0)
    receipts, to_delete = anyio.create_memory_object_stream[list[str]](0)
    async with give, joined, receipts, to_delete, anyio.create_task_group() as group:
        for _ in entries:
            streams = (to_join.clone(), settlements.clone(), receipts.clone())
            group.start_soon(scene.joiner.run, *streams)
        to_join.close()
        settlements.close()
        for entry in entries:
            give.send_nowait(Claimed(entry, completed(entry)))
        give.close()
        await anyio.sleep(60)
        assert scene.memory.free == 20, "one has its share, the other waits for it"
        for _ in entries:
            ((settlement,),) = [await joined.receive()]
            await anyio.sleep(60)
            assert scene.memory.free == 20
            assert settlement.reservation is not None
            settlement.reservation.release()
        with pytest.raises(anyio.EndOfStream):
            await joined.receive()
    assert scene.memory.free == 100


async def test_an_output_in_the_event_has_its_share_of_the_memory(scene: Scene) -> None:
    (entry,) = await scene.accepted()
    scene.memory = scene.joiner.memory = MemoryBudget(100)
    (settlement,) = await run(scene, Claimed(entry, completed(entry, body=b"x" * 30)))
    assert scene.memory.free == 70
    assert settlement.reservation is not None
    settlement.reservation.release()
    assert scene.memory.free == 100


async def test_a_dead_letter_has_its_records_share_of_the_memory(open_scene: OpenScene) -> None:
    async with open_scene(completion={"max_output": 50}) as scene:
        (entry,) = await scene.accepted()
        scene.bucket.objects[scene.output_of(entry)] = b"x" * 51, None
        scene.memory = scene.joiner.memory = MemoryBudget(100)
        (settlement,) = await run(scene, Claimed(entry, completed(entry)))
        assert settlement.outcomes[0].input == b'{"n":0}'
        assert scene.memory.free == 100 - settlement.size == 100 - len(b'{"n":0}')


async def test_a_record_that_cannot_be_reshaped_has_its_share_too(open_scene: OpenScene) -> None:
    async with open_scene(sink={"path": "r.jsonl", "select": "length(output)"}) as scene:
        (entry,) = await scene.accepted()
        scene.memory = scene.joiner.memory = MemoryBudget(100)
        (settlement,) = await run(scene, Claimed(entry, completed(entry, body=b"12345")))
        assert settlement.outcomes[0].reason == "select_failed"
        assert scene.memory.free <= 100 - settlement.size == 100 - len(b'{"n":0}')


@pytest.mark.parametrize("kind", ["completed", "failed"])
async def test_a_payload_that_was_damaged_meanwhile_stops_the_run(
    open_scene: OpenScene, tmp_path: Path, kind: Kind
) -> None:
    """Or its records would be settled without the input that their lines have to show."""
    async with open_scene(sink={"join": "both"}) as scene:
        (entry,) = await scene.accepted()
        await scene.ledger.payload(entry)  # it is in memory until it is asked for
        for segment in (tmp_path / "ledger.db.spool").glob("*.spool"):
            segment.write_bytes(bytes(segment.stat().st_size))
        completion = Completion(kind, entry.planned.id, None, body=b"1")
        with pytest.raises(StateError, match="cannot be read from the spool"):
            await scene.join(entry, completion)


async def test_a_large_record_that_was_damaged_meanwhile_stops_the_run(
    open_scene: OpenScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is only read where something is selected of it."""
    monkeypatch.setattr("dispatcher.ledger.payloads.payloads.LARGE_BYTES", 1)
    async with open_scene(sink={"join": "both", "select": "input.n"}) as scene:
        (entry,) = await scene.accepted()
        for segment in (tmp_path / "ledger.db.spool").glob("*.spool"):
            segment.write_bytes(bytes(segment.stat().st_size))
        completion = Completion("completed", entry.planned.id, None, body=b"1")
        with pytest.raises(StateError, match="cannot be read from the spool"):
            await scene.join(entry, completion)
