"""Run from queue to queue on SQS servers of other projects, and report how they differ.

    python -m tests.contracts.cross_check moto fauxqs

moto is installed with the tests. fauxqs needs Node 22 or newer: FAUXQS is the command that starts
it, such as ``npx --yes fauxqs@2.4.1``; where it is not set, that is what is run. Inferences are the
emulator's; their completions are found in S3 alone, so that the queues are the server's only.
"""

import argparse
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import anyio

from dispatcher.aws.queue import Queue
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.settings import AwsSettings, Config, EmulatorSettings
from dispatcher.emulator.server import Emulator
from dispatcher.errors import CallError
from dispatcher.observe.meter import Meter
from dispatcher.run import pipeline
from tests.contracts.conftest import MOTO

MESSAGES = 40
"""moto is quadratic in them."""

START_SECONDS = 60
FAUXQS = "npx --yes fauxqs@2.4.1"
Answers = dict[str, str]


@contextmanager
def moto() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        host, port = process.stdout.readline().split()
        yield f"http://{host}:{port}"
        process.kill()


@contextmanager
def fauxqs() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "FAUXQS_PORT": str(port), "FAUXQS_LOGGER": "false"}
    command = shlex.split(os.environ.get("FAUXQS", FAUXQS))
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", process)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urlopen(url):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"nothing answers at {url}") from None
            time.sleep(0.1)


SERVERS = {"moto": moto, "fauxqs": fauxqs}


@asynccontextmanager
async def reached(url: str, emulator: Emulator) -> AsyncIterator[Transport]:
    """Let the environment lead to the server for SQS and to the emulator for all else."""
    os.environ |= {**emulator.environment, "AWS_ENDPOINT_URL_SQS": url}
    async with open_transport(AwsSettings(), connections=8) as transport:
        yield transport


async def make(transport: Transport, name: str, visibility: int = 30) -> Queue:
    made: dict[str, Any] = await transport.clients.sqs.create_queue(
        QueueName=name, Attributes={"VisibilityTimeout": str(visibility)}
    )
    url = made["QueueUrl"]
    # fauxqs names a host of its own, which only its own network knows.
    base = transport.clients.sqs.meta.endpoint_url
    return transport.queue(base + "/" + url.split("/", 3)[3])


async def whole_way(transport: Transport, emulator: Emulator, folder: Path) -> list[str]:
    """Run from queue to queue, inferences longer than the time-out, stopped once in the middle."""
    source, results, dead = [
        await make(transport, name, visibility)
        for name, visibility in (("in", 2), ("out", 30), ("dead", 30))
    ]
    wanted = {f"r{n}": {"id": f"r{n}", "text": "é\ufffe"} for n in range(MESSAGES - 1)}
    bodies = [json.dumps(value) for value in wanted.values()]
    for start in range(0, len(bodies), 10):
        assert await source.send(bodies[start : start + 10]) == {}
    assert await source.send(["no json"]) == {}
    queue = {"type": "sqs"}
    config = Config.model_validate(
        {
            "endpoint": "emulated",
            "source": {**queue, "queue_url": source.url, "key": "id", "until_empty": "2s"},
            "completion": {"sweep_after": "500ms"},
            "ledger": {"path": str(folder / "ledger.db")},
            "sink": {**queue, "queue_url": results.url},
            "dead_letters": {**queue, "queue_url": dead.url},
        }
    )
    meter = Meter()
    with anyio.move_on_after(3):
        await pipeline.run(config, meter=meter)
    if meter.completed == MESSAGES - 1:
        return ["the first run was not stopped in the middle"]
    meter = Meter()
    with anyio.fail_after(120):
        await pipeline.run(config, meter=meter)
    got = [json.loads(body) for body in await drain(results)]
    wrong = [
        f"{key} has not its own output once"
        for key, value in wanted.items()
        if [line["output"] for line in got if line["key"] == key] != [value]
    ]
    letters = [json.loads(body) for body in await drain(dead)]
    if [letter["input"] for letter in letters] != [{"base64": "bm8ganNvbg=="}]:
        wrong.append(f"the dead letters are {letters}")
    attributes = await source.attributes() or {}
    left = {
        name: attributes[name]
        for name in attributes
        if "Messages" in name and attributes[name] != "0"
    }
    return wrong + ([f"the source has messages left: {left}"] if left else [])


async def drain(queue: Queue) -> list[str]:
    bodies: list[str] = []
    while messages := await queue.receive(wait=0):
        bodies += [message.body for message in messages]
        await queue.delete([message.receipt for message in messages])
    return bodies


async def behaviour(transport: Transport) -> Answers:
    """Ask what the documentation leaves open, or servers take lightly."""
    queue = await make(transport, "odd")
    await queue.send(["a"])
    (first,) = await queue.receive()
    await queue.change_visibility([(first.receipt, 0)])
    (second,) = await queue.receive()
    answers = {
        "hide by a replaced receipt": await said(queue.change_visibility([(first.receipt, 9)]))
    }
    answers["delete by a replaced receipt"] = await said(queue.delete([first.receipt]))
    answers["the message then"] = await state(queue)
    await queue.change_visibility([(second.receipt, 0)])
    answers["hide what is visible again"] = await said(
        queue.change_visibility([(second.receipt, 9)])
    )
    answers["delete what is visible again"] = await said(queue.delete([second.receipt]))
    answers["the message after that"] = await state(queue)
    await drain(queue)
    await queue.send(["b"])
    (message,) = await queue.receive()
    await queue.delete([message.receipt])
    answers["delete what is deleted"] = await said(queue.delete([message.receipt]))
    answers["hide what is deleted"] = await said(queue.change_visibility([(message.receipt, 9)]))
    answers["a receipt that is none"] = await said(queue.delete(["none"]))
    answers["hide for more than 12 h"] = await said(
        queue.change_visibility([(message.receipt, 43_201)])
    )
    answers["send U+FFFF"] = await said(queue.send(["\uffff", "c"]))
    attributes = await queue.attributes() or {}
    answers["attributes"] = ", ".join(sorted(attributes)) or "none"
    return answers


async def said(awaited: Any) -> str:
    try:
        failed: Mapping[int, CallError] = await awaited
    except CallError as error:
        return f"refused whole: {type(error).__name__} {error.code}"
    return ", ".join(f"{type(e).__name__} {e.code}" for e in failed.values()) or "succeeds"


async def state(queue: Queue) -> str:
    attributes = await queue.attributes() or {}
    visible = attributes.get("ApproximateNumberOfMessages")
    return f"visible {visible}, hidden {attributes.get('ApproximateNumberOfMessagesNotVisible')}"


async def check(name: str) -> list[str]:
    settings = EmulatorSettings.model_validate({"service_time": "5s", "instances": 100})
    with SERVERS[name]() as url, tempfile.TemporaryDirectory() as folder:
        async with Emulator(settings) as emulator, reached(url, emulator) as transport:
            answers = await behaviour(transport)
            for question, answer in answers.items():
                print(f"{name:8}{question:32}{answer}", flush=True)
            return await whole_way(transport, emulator, Path(folder))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="+", choices=SERVERS)
    failed = 0
    for name in parser.parse_args().servers:
        wrong = anyio.run(check, name)
        print(f"{name:8}from queue to queue: {len(wrong)} wrong", flush=True)
        for line in wrong[:10]:
            print(f"{name:8}{line}")
        failed += len(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
