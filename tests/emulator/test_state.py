"""The state folder: what a killed emulator goes on with."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatcher.config.settings import EmulatorSettings, ServiceTime
from dispatcher.emulator.sagemaker.accepted_log import AcceptedLog
from dispatcher.emulator.server import Emulator
from dispatcher.emulator.state.folder import MARKER
from dispatcher.emulator.state.journal import Journal
from dispatcher.errors import ConfigError, StateError

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
    accepted = AcceptedLog(tmp_path / "a")
    invocations = [make_invocation(body=bytes(1000)) for _ in range(100)]
    for invocation in invocations:
        accepted.add(invocation)
    for invocation in invocations[10:]:
        accepted.settle(invocation.serial)
    accepted.close()
    again = AcceptedLog(tmp_path / "a")
    assert again.unsettled() == invocations[:10]
    assert again.next_serial == 11
    assert (tmp_path / "a").stat().st_size < 15_000
    again.close()


def test_journal_of_invocations_is_compacted_while_running(
    tmp_path: Path, make_invocation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.emulator.sagemaker.accepted_log._COMPACT_BYTES", 100_000)
    accepted = AcceptedLog(tmp_path / "a")
    stays = make_invocation()
    accepted.add(stays)
    for _ in range(1000):
        invocation = make_invocation(body=bytes(1000))
        accepted.add(invocation)
        accepted.settle(invocation.serial)
        assert (tmp_path / "a").stat().st_size < 110_000
    assert accepted.unsettled() == [stays]
    accepted.close()


def test_many_open_invocations_cost_no_rewrite_each(
    tmp_path: Path, make_invocation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = AcceptedLog(tmp_path / "a")
    monkeypatch.setattr("dispatcher.emulator.sagemaker.accepted_log._COMPACT_BYTES", 1000)
    rewritten: list[int] = []
    rewrite = Journal.rewrite

    def counted(journal: Journal, entries: Any) -> None:
        rewritten.append(journal.size)
        rewrite(journal, entries)

    monkeypatch.setattr(Journal, "rewrite", counted)
    # Staged ones have no body, but they have an entry.
    invocations = [make_invocation(body=b"", input_location="s3://b/k") for _ in range(500)]
    for invocation in invocations:
        accepted.add(invocation)
    for invocation in invocations[:300]:
        accepted.settle(invocation.serial)
    assert rewritten == []
    accepted.close()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "name", ["report.csv", "data/07/123", "incoming/mine", "objects.log", "data", MARKER]
)
async def test_folder_with_files_of_somebody_else_is_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"precious")
    with pytest.raises(StateError, match=r"left alone.*emulator\.state"):
        await Emulator(EmulatorSettings(state=str(tmp_path))).__aenter__()
    assert files(tmp_path) == {name: b"precious"}


async def test_folder_whose_making_was_interrupted_is_used(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_bytes(b"")
    for _ in range(2):
        async with Emulator(EmulatorSettings(state=str(tmp_path))):
            pass


async def test_folder_is_held_by_one_emulator(tmp_path: Path) -> None:
    settings = EmulatorSettings(state=str(tmp_path))
    async with Emulator(settings):
        before = files(tmp_path)
        with pytest.raises(ConfigError, match=rf"{tmp_path} is in use.*emulator\.state"):
            await Emulator(settings).__aenter__()
        assert files(tmp_path) == before
    async with Emulator(settings):
        pass


async def test_start_that_fails_lets_go_of_the_folder(tmp_path: Path) -> None:
    good = EmulatorSettings(state=str(tmp_path))
    async with Emulator(EmulatorSettings()) as other:
        port = int(other.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="port"):
            await Emulator(good.model_copy(update={"port": port})).__aenter__()
    async with Emulator(good):
        pass
