"""Completion events."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from dispatcher.config.settings import ServiceTime
from dispatcher.emulator.models.model import ModelRequest
from dispatcher.emulator.sagemaker.completion_events import RESPONSE_IN_EVENT_BYTES
from tests.emulator.calls import events, invoke, running


@pytest.mark.parametrize("body_bytes", [0, RESPONSE_IN_EVENT_BYTES])
async def test_small_response_travels_in_the_event(connect: Any, body_bytes: int) -> None:
    async with running(response_in_event=True) as emulator:
        wire = await connect(emulator.url)
        body = b"x" * max(body_bytes, 1)
        await invoke(wire, body)
        await emulator.idle()
        (event,) = await events(emulator, wire)
        assert base64.b64decode(event["responseBody"]["content"]) == body
        assert event["responseBody"]["encoding"] == "BASE64"


async def test_large_response_does_not_travel_in_the_event(
    connect: Any, models: Callable[[Any], str]
) -> None:
    def large(request: ModelRequest) -> bytes:
        return b"x" * (RESPONSE_IN_EVENT_BYTES + 1)

    async with running(response_in_event=True, model=models(large)) as emulator:
        wire = await connect(emulator.url)
        await invoke(wire, Filename="a.out")
        await emulator.idle()
        (event,) = await events(emulator, wire)
        assert "responseBody" not in event
        output = emulator.objects("emulator-output")["emulated/output/a.out"]
        assert len(output) == RESPONSE_IN_EVENT_BYTES + 1


async def test_times_in_events_are_the_services_own(clock: Any, connect: Any) -> None:
    async with running(clock, service_time=ServiceTime(median=2.5)) as emulator:
        wire = await connect(emulator.url)
        await invoke(wire)
        await clock.advance(2.5)
        (event,) = await events(emulator, wire)
        assert event["receivedTime"] == "2023-11-14T22:13:20.000Z"
        assert event["eventTime"] == "2023-11-14T22:13:22.500Z"
