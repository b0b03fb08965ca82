"""Story: commands around a model that never answers, their end and their neighbours."""

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

MODEL = """
import pathlib, time

def predict(request):
    pathlib.Path("started").touch()
    time.sleep(3600)
"""

CONFIG = """
endpoint: emulated
source: {type: jsonl, path: in.jsonl}
limits: {drain: 0s}
emulator: {model: "endless:predict"}
"""

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    (tmp_path / "endless.py").write_text(MODEL)
    (tmp_path / "w.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text("{}\n")
    started: list[Process] = []

    async def start(*arguments: str) -> Process:
        command = [sys.executable, "-m", "dispatcher", *arguments]
        started.append(
            await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=PIPE, stderr=PIPE)
        )
        return started[-1]

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def model_runs(folder: Path) -> None:
    async with asyncio.timeout(30):
        while not (folder / "started").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_the_emulator_while_a_model_runs(
    start: Start, tmp_path: Path, connect: Any, number: signal.Signals
) -> None:
    process = await start("emulate", "--port", "0", "--model", "endless:predict")
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip().partition("=")[2]
    wire = await connect(url)
    reply = await wire.ask(
        "POST", "/endpoints/demo/async-invocations", {}, b"x", service="sagemaker"
    )
    assert reply.status == 202
    await model_runs(tmp_path)
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 10) == 128 + number


async def test_signal_ends_a_run_while_a_model_runs(start: Start, tmp_path: Path) -> None:
    process = await start("run", "w.yaml")
    await model_runs(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 128 + signal.SIGTERM


async def test_second_run_names_the_state_folder_that_is_in_use(
    start: Start, tmp_path: Path
) -> None:
    state = ("--set", "emulator.state=state/emulator")
    first = await start("run", "w.yaml", *state)
    await model_runs(tmp_path)
    for command in (("run", "w.yaml"), ("emulate", "--config", "w.yaml")):
        second = await start(*command, *state)
        _, stderr = await second.communicate()
        assert second.returncode == 1
        assert b"state folder state/emulator is in use by another process" in stderr
    checked = await start("check", "w.yaml", "--aws", *state)
    out, _ = await checked.communicate()
    assert re.search(rb"\nok +endpoint +emulated answers", out), out
    first.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(first.wait(), 20) == 128 + signal.SIGTERM


async def test_check_of_the_account_writes_nothing(start: Start, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    checked = await start("check", "w.yaml", "--aws", "--set", "emulator={state: new, model: echo}")
    stdout, stderr = await checked.communicate()
    assert checked.returncode == 0, stdout + stderr
    assert sorted(tmp_path.rglob("*")) == before
