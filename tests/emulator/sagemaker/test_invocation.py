"""Headers of InvokeEndpointAsync: read, completed and refused."""

from typing import Any

import orjson
import pytest

from dispatcher.emulator.server import Emulator
from tests.emulator.calls import events, invoke


async def test_service_makes_an_inference_id(wire: Any, emulator: Emulator) -> None:
    reply = await invoke(wire)
    assert reply.status == 202
    made = orjson.loads(reply.body)["InferenceId"]
    assert len(made) == 36
    await emulator.idle()
    assert [e["inferenceId"] for e in await events(emulator, wire)] == [made]


async def test_filename_without_extension_and_dot(wire: Any) -> None:
    reply = await invoke(wire, Filename="plain")
    assert reply.headers["x-amzn-sagemaker-outputlocation"].endswith("/emulated/output/plain")
    assert reply.headers["x-amzn-sagemaker-failurelocation"].endswith(
        "/emulated/failure/plain-error.out"
    )


async def test_extension_without_filename(wire: Any) -> None:
    reply = await invoke(wire, S3OutputPathExtension="/run/1/")
    location = reply.headers["x-amzn-sagemaker-outputlocation"]
    assert location.startswith("s3://emulator-output/emulated/output/run/1/")
    assert location.endswith(".out")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("RequestTTLSeconds", "59"),
        ("RequestTTLSeconds", "soon"),
        ("InvocationTimeoutSeconds", "0"),
        ("InvocationTimeoutSeconds", "1.5"),
        ("Filename", ""),
        ("Inference-Id", "\xe4"),
        ("Content-Type", "\xe4"),
    ],
)
async def test_mistakes_that_sdks_refuse_are_refused_too(
    wire: Any, header: str, value: str
) -> None:
    reply = await invoke(wire, b"{}", **{header: value})
    assert reply.status == 400
    assert reply.headers["x-amzn-errortype"].startswith("ValidationError:".lower())


async def test_all_that_is_wrong_is_named_at_once(wire: Any, emulator: Emulator) -> None:
    reply = await invoke(wire, Filename="a.b.c", RequestTTLSeconds="1")
    message = orjson.loads(reply.body)["Message"]
    assert message.startswith("2 validation errors detected: ")
    assert emulator.endpoint("emulated").accepted == 0
