"""The whole emulator: started, killed, and started again."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from dispatcher.config.settings import EmulatorSettings, ServiceTime
from dispatcher.emulator.server import Emulator
from dispatcher.errors import ConfigError
from tests.emulator.calls import invoke, messages, running


async def test_starting_endpoint_sends_a_test_notification_to_both_topics(
    wire: Any, emulator: Emulator
) -> None:
    note = {"eventSource": "aws:sagemaker", "eventName": "TestNotification"}
    assert await messages(emulator, wire) == [note, note]


async def test_wrapped_delivery_is_a_setting(connect: Any) -> None:
    async with running(raw_delivery=False) as emulator:
        wire = await connect(emulator.url)
        await invoke(wire, Inference_Id="i")
        await emulator.idle()
        *tests, envelope = await messages(emulator, wire)
        assert [orjson.loads(test["Message"])["eventName"] for test in tests] == [
            "TestNotification"
        ] * 2
        assert envelope["Type"] == "Notification"
        assert orjson.loads(envelope["Message"])["inferenceId"] == "i"


SERVE = """
import asyncio, sys
from dispatcher.config.settings import EmulatorSettings, ServiceTime
from dispatcher.emulator.server import Emulator

async def main():
    settings = EmulatorSettings(state=sys.argv[1], service_time=ServiceTime(median=3600.0))
    async with Emulator(settings) as emulator:
        print(emulator.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_killed_emulator_goes_on_with_its_accepted_invocations(
    tmp_path: Path, connect: Any
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        wire = await connect((await process.stdout.readline()).decode().strip())
        await wire.ask("PUT", "/emulator-input/k", body=b"staged" * 300_000)
        for n in range(20):
            location = {"X-Amzn-SageMaker-InputLocation": "s3://emulator-input/k"} if n == 7 else {}
            reply = await wire.ask(
                "POST",
                "/endpoints/emulated/async-invocations",
                {"X-Amzn-SageMaker-Filename": f"{n}.out", **location},
                b"" if location else f"body {n}".encode(),
                service="sagemaker",
            )
            assert reply.status == 202
    finally:
        process.kill()
        await process.wait()
    quick = EmulatorSettings(state=str(tmp_path), service_time=ServiceTime(median=0.0))
    async with Emulator(quick) as emulator:
        await emulator.idle()
        outputs = dict(emulator.objects("emulator-output"))
        assert emulator.endpoint("emulated").accepted == 20
    expected = {f"emulated/output/{n}.out": f"body {n}".encode() for n in range(20)}
    expected["emulated/output/7.out"] = b"staged" * 300_000
    assert outputs == expected
    async with Emulator(quick) as emulator:
        assert emulator.endpoint("emulated").accepted == 0
        assert dict(emulator.objects("emulator-output")) == expected


async def test_start_that_fails_unlocks_the_folder(tmp_path: Path) -> None:
    good = EmulatorSettings(state=str(tmp_path))
    async with Emulator(EmulatorSettings()) as other:
        port = int(other.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="port"):
            await Emulator(good.model_copy(update={"port": port})).__aenter__()
    async with Emulator(good):
        pass
