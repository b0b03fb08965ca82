"""One endpoint in virtual time: instances, expiry, models that fail."""

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from dispatcher.config.settings import ServiceTime
from dispatcher.emulator.models.model import ModelError, ModelRequest, ModelResponse
from dispatcher.emulator.sagemaker.delivery import OutputDelivery
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation
from tests.emulator.calls import events, invoke, running


@pytest.mark.parametrize(
    ("error", "reason", "content"),
    [
        (ModelError(400, "bad row"), "client error (400)", b"bad row"),
        (ModelError(503, "later"), "server error (503)", b"later"),
        (ValueError("oops"), "server error (500)", b"ValueError: oops"),
    ],
)
async def test_failing_model_writes_a_failure_and_says_so(
    connect: Any, models: Callable[[Any], str], error: Exception, reason: str, content: bytes
) -> None:
    async def fail(request: ModelRequest) -> bytes:
        raise error

    async with running(model=models(fail)) as emulator:
        wire = await connect(emulator.url)
        await invoke(wire, Filename="a.out", Inference_Id="i")
        await emulator.idle()
        (event,) = await events(emulator, wire)
        assert event["invocationStatus"] == "Failed"
        assert event["failureReason"].startswith(f"ClientError: Received {reason} from model.")
        assert event["responseParameters"] == {
            "failureLocation": "s3://emulator-output/emulated/failure/a-error.out"
        }
        assert dict(emulator.objects("emulator-output")) == {
            "emulated/failure/a-error.out": content
        }
        assert emulator.endpoint("emulated").failed == 1


async def test_model_gets_the_whole_request(connect: Any, models: Callable[[Any], str]) -> None:
    seen: list[ModelRequest] = []

    def look(request: ModelRequest) -> ModelResponse:
        seen.append(request)
        return ModelResponse(b"done", "text/plain")

    async with running(model=models(look)) as emulator:
        wire = await connect(emulator.url)
        await invoke(
            wire, b"abc", Content_Type="a/b", Accept="c/d", Custom_Attributes="e", Inference_Id="i"
        )
        await emulator.idle()
        assert seen == [
            ModelRequest(
                body=b"abc",
                content_type="a/b",
                accept="c/d",
                custom_attributes="e",
                inference_id="i",
                endpoint="emulated",
            )
        ]
        (event,) = await events(emulator, wire)
        assert event["responseParameters"]["contentType"] == "text/plain"


async def test_model_that_returns_nonsense_is_a_server_error(
    connect: Any, models: Callable[[Any], str]
) -> None:
    async with running(model=models(lambda request: "text")) as emulator:
        wire = await connect(emulator.url)
        await invoke(wire)
        await emulator.idle()
        (event,) = await events(emulator, wire)
        assert "server error (500)" in event["failureReason"]


async def test_instances_infer_at_once_and_the_queue_is_first_in_first_out(
    clock: Any, connect: Any
) -> None:
    async with running(clock, instances=2, service_time=ServiceTime(median=10.0)) as emulator:
        wire = await connect(emulator.url)
        for n in range(5):
            await invoke(wire, Inference_Id=f"i{n}")
        endpoint = emulator.endpoint("emulated")
        assert (endpoint.running, endpoint.queued) == (2, 3)
        finished = []
        for _ in range(3):
            await clock.advance(10.0)
            finished.append([e["inferenceId"] for e in await events(emulator, wire)])
        assert finished == [["i0", "i1"], ["i2", "i3"], ["i4"]]
        assert endpoint.completed == 5


async def test_request_expires_in_the_queue_at_its_own_time(clock: Any, connect: Any) -> None:
    async with running(clock, instances=1, service_time=ServiceTime(median=300.0)) as emulator:
        wire = await connect(emulator.url)
        await invoke(wire, Inference_Id="runs")
        await invoke(wire, Inference_Id="patient", RequestTTLSeconds="600")
        await invoke(wire, Inference_Id="hasty", RequestTTLSeconds="60")
        await clock.advance(59.0)
        assert await events(emulator, wire) == []
        await clock.advance(2.0)
        (event,) = await events(emulator, wire)
        assert event["inferenceId"] == "hasty"
        assert event["invocationStatus"] == "Expired"
        assert "60 seconds" in event["failureReason"]
        assert "responseParameters" not in event
        await clock.advance(600.0)
        done = {e["inferenceId"]: e["invocationStatus"] for e in await events(emulator, wire)}
        assert done == {"runs": "Completed", "patient": "Completed"}
        assert emulator.endpoint("emulated").expired == 1


async def test_slow_inference_fails_at_its_timeout(clock: Any, connect: Any) -> None:
    async with running(clock, service_time=ServiceTime(median=100.0)) as emulator:
        wire = await connect(emulator.url)
        await invoke(wire, InvocationTimeoutSeconds="7")
        await clock.advance(6.0)
        assert await events(emulator, wire) == []
        await clock.advance(2.0)
        (event,) = await events(emulator, wire)
        assert event["invocationStatus"] == "Failed"
        assert "server error (0)" in event["failureReason"]


async def test_finished_invocations_leave_nothing_behind(connect: Any) -> None:
    async with running(events=False) as emulator:
        wire = await connect(emulator.url)
        for _ in range(50):
            await invoke(wire, RequestTTLSeconds="60", Filename="same.out")
        await asyncio.wait_for(emulator.idle(), 5)
        backlog = emulator.endpoint("emulated")._backlog
        assert not backlog
        assert not backlog._queue
        assert not backlog._by_ttl


async def test_expiry_goes_on_after_one_that_cannot_be_written(
    clock: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expired = OutputDelivery.expired

    def broken(delivery: OutputDelivery, invocation: AcceptedInvocation) -> None:
        if invocation.inference_id == "unlucky":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "secret payload")
        expired(delivery, invocation)

    monkeypatch.setattr(OutputDelivery, "expired", broken)
    async with running(clock, instances=1, service_time=ServiceTime(median=300.0)) as emulator:
        wire = await connect(emulator.url)
        for inference_id in ("runs", "unlucky", "lucky", "last"):
            ttl = "600" if inference_id == "last" else "60"
            await invoke(wire, Inference_Id=inference_id, RequestTTLSeconds=ttl)
        await clock.advance(62.0)
        assert [e["inferenceId"] for e in await events(emulator, wire)] == ["lucky"]
        await clock.advance(600.0)
        assert [e["inferenceId"] for e in await events(emulator, wire)] == ["runs", "last"]
        assert emulator.endpoint("emulated").expired == 2
    (record,) = caplog.records
    assert record.getMessage() == ("the emulator lost invocation unlucky: No space left on device")
    assert record.exc_info is None


async def test_instance_goes_on_when_an_expiry_cannot_be_written(
    clock: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(delivery: OutputDelivery, invocation: AcceptedInvocation) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with running(clock, instances=1, service_time=ServiceTime(median=60.0)) as emulator:
        wire = await connect(emulator.url)
        for inference_id, ttl in (("runs", "600"), ("hasty", "60"), ("patient", "600")):
            await invoke(wire, Inference_Id=inference_id, RequestTTLSeconds=ttl)
        monkeypatch.setattr(OutputDelivery, "expired", broken)
        # The instance is the first to see that the second one is too late.
        await clock.advance(60.0)
        await clock.advance(60.0)
        done = [e["inferenceId"] for e in await events(emulator, wire)]
        assert done == ["runs", "patient"]
        await asyncio.wait_for(emulator.idle(), 5)
