"""Faults of invocations, outputs and events, over HTTP."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from dispatcher.config.faults import Fault, FaultSettings
from dispatcher.emulator.models.model import ModelRequest, ModelResponse
from dispatcher.emulator.server import Emulator
from tests.emulator.calls import (
    events,
    invoke,
    messages,
    receive,
    running,
    texts,
)
from tests.emulator.conftest import Connect, VirtualClock, Wire

OUTPUT, FAILURE = "emulated/output/1.out", "emulated/failure/1-error.out"


async def one_invocation(emulator: Emulator, wire: Wire) -> None:
    assert (await invoke(wire, Filename="1.out", Inference_Id="id-1")).status == 202
    await emulator.idle()


# Outcomes


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ("failure", ({FAILURE}, "Failed", "failed")),
        ("failure_only", ({FAILURE}, None, "failed")),
        ("expiry", (set(), "Expired", "expired")),
        ("silent_expiry", (set(), None, "expired")),
        ("silent_output", ({OUTPUT}, None, "completed")),
    ],
)
async def test_objects_and_event_of_an_invocation_with_a_fault(
    connect: Connect, tmp_path: Path, fault: Fault, left: tuple[set[str], str | None, str]
) -> None:
    objects, status, counted = left
    async with running(state=str(tmp_path), faults=FaultSettings(**{fault: 1})) as emulator:
        wire = await connect(emulator.url)
        await one_invocation(emulator, wire)
        assert set(emulator.objects("emulator-output")) == objects
        statuses = [event["invocationStatus"] for event in await events(emulator, wire)]
        assert statuses == ([status] if status else [])
        assert getattr(emulator.endpoint("emulated"), counted) == 1
        assert emulator.faults.struck == {fault: 1}
    # It is settled, so that a new start does not run it again.
    async with running(state=str(tmp_path)) as emulator:
        assert emulator.endpoint("emulated").accepted == 0


async def test_the_model_does_not_run_for_an_expired_or_failed_invocation(
    connect: Connect, models: Callable[[Any], str]
) -> None:
    ran: list[str] = []

    def model(request: ModelRequest) -> bytes:
        ran.append(request.inference_id)
        return b"{}"

    async with running(model=models(model)) as emulator:
        wire = await connect(emulator.url)
        for fault in ("expiry", "silent_expiry", "failure", "failure_only"):
            with emulator.faults.inject(fault):
                await one_invocation(emulator, wire)
        assert ran == []
        await one_invocation(emulator, wire)
        assert ran == ["id-1"]


async def test_one_output_is_missing(connect: Connect, models: Callable[[Any], str]) -> None:
    def model(request: ModelRequest) -> ModelResponse:
        return ModelResponse(b'[{"a":1},{"a":2}]')

    async with running(model=models(model), response_in_event=True) as emulator:
        wire = await connect(emulator.url)
        with emulator.faults.inject("wrong_count", when=lambda taken: taken.inference_id == "id-1"):
            await one_invocation(emulator, wire)
        assert emulator.objects("emulator-output")[OUTPUT] == b'[{"a":1}]'
        (event,) = await events(emulator, wire)
        assert base64.b64decode(event["responseBody"]["content"]) == b'[{"a":1}]'


# Events


async def test_a_lost_event_leaves_the_output(emulator: Emulator, wire: Wire) -> None:
    with emulator.faults.inject("lost_event", times=1):
        await one_invocation(emulator, wire)
        await invoke(wire, Inference_Id="id-2")
        await emulator.idle()
    assert emulator.objects("emulator-output")[OUTPUT] == b"{}"
    assert [event["inferenceId"] for event in await events(emulator, wire)] == ["id-2"]


@pytest.mark.parametrize("raw", [True, False])
async def test_duplicates_are_messages_of_their_own_that_say_the_same(
    connect: Connect, raw: bool
) -> None:
    faults = FaultSettings(duplicate_event=1, duplicate_event_copies=5)
    async with running(raw_delivery=raw, faults=faults) as emulator:
        wire = await connect(emulator.url)
        await texts(emulator, wire)
        await one_invocation(emulator, wire)
        received = await receive(emulator, wire)
    assert len(received) == len({message["MessageId"] for message in received}) == 6
    # In an envelope it is one publication of SNS: its MessageId is the same as well.
    assert len({message["Body"] for message in received}) == 1


async def test_a_late_event_comes_in_the_end(connect: Connect, clock: VirtualClock) -> None:
    async with running(clock, faults=FaultSettings(late_event=1, late_event_delay=60)) as emulator:
        wire = await connect(emulator.url)
        await invoke(wire)
        await clock.advance(0)
        await emulator.idle()  # what is late is no work of an endpoint's
        assert emulator.endpoint("emulated").completed == 1
        await clock.advance(59)
        assert await events(emulator, wire) == []
        await clock.advance(1)
        assert len(await events(emulator, wire)) == 1


async def test_a_reordered_event_is_overtaken(connect: Connect, clock: VirtualClock) -> None:
    async with running(clock) as emulator:
        wire = await connect(emulator.url)
        with emulator.faults.inject("reordered_event", when=lambda taken: taken.serial == 1):
            for name in ("first", "second"):
                await invoke(wire, Inference_Id=name)
                await clock.advance(0)
        order = [event["inferenceId"] for event in await events(emulator, wire)]
        await clock.advance(1)
        order += [event["inferenceId"] for event in await events(emulator, wire)]
        assert order == ["second", "first"]


async def test_shuffled_duplicates_all_come(connect: Connect, clock: VirtualClock) -> None:
    faults = FaultSettings(
        duplicate_event=1, duplicate_event_copies=5, reordered_event=1, late_event=1
    )
    names = [f"{n:02}" for n in range(20)]
    async with running(clock, faults=faults) as emulator:
        wire = await connect(emulator.url)
        for name in names:
            await invoke(wire, Inference_Id=name)
        await clock.advance(0)
        await clock.advance(61)
        order = [event["inferenceId"] for event in await events(emulator, wire)]
    assert sorted(order) == sorted(names * 6)
    assert order != sorted(order)


async def test_strays_come_besides_the_event(emulator: Emulator, wire: Wire) -> None:
    await texts(emulator, wire)
    with emulator.faults.inject("foreign_event"), emulator.faults.inject("malformed_event"):
        await one_invocation(emulator, wire)
    foreign, _, true = await texts(emulator, wire)
    assert orjson.loads(foreign)["inferenceId"] != "id-1"
    assert orjson.loads(foreign)["requestParameters"]["endpointName"] == "emulated"
    assert orjson.loads(true)["inferenceId"] == "id-1"


async def test_without_events_no_fault_of_an_event_strikes(connect: Connect) -> None:
    async with running(events=False, faults=FaultSettings(foreign_event=1)) as emulator:
        wire = await connect(emulator.url)
        await one_invocation(emulator, wire)
        assert await messages(emulator, wire) == []
        assert not emulator.faults.struck
