"""The state folder: what a killed emulator goes on with."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatcher.config.settings import EmulatorSettings, ServiceTime
from dispatcher.emulator.accepted import Accepted
from dispatcher.emulator.server import Emulator

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


async def test_killed_emulator_goes_on_with_what_it_accepted(tmp_path: Path, connect: Any) -> None:
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


def test_journal_of_invocations_forgets_the_settled(tmp_path: Path, make_invocation: Any) -> None:
    accepted = Accepted(tmp_path / "a")
    invocations = [make_invocation(body=bytes(1000)) for _ in range(100)]
    for invocation in invocations:
        accepted.add(invocation)
    for invocation in invocations[10:]:
        accepted.settle(invocation.serial)
    accepted.close()
    again = Accepted(tmp_path / "a")
    assert again.unsettled() == invocations[:10]
    assert again.next_serial == 11
    assert (tmp_path / "a").stat().st_size < 15_000
    again.close()


def test_journal_of_invocations_is_compacted_while_running(
    tmp_path: Path, make_invocation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.emulator.accepted._COMPACT_BYTES", 100_000)
    accepted = Accepted(tmp_path / "a")
    stays = make_invocation()
    accepted.add(stays)
    for _ in range(1000):
        invocation = make_invocation(body=bytes(1000))
        accepted.add(invocation)
        accepted.settle(invocation.serial)
        assert (tmp_path / "a").stat().st_size < 110_000
    assert accepted.unsettled() == [stays]
    accepted.close()
