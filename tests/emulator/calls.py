"""Calls of an emulator over a raw connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from dispatcher.config.settings import EmulatorSettings, ServiceTime
from dispatcher.emulator.server import Emulator

PREFIX = "X-Amzn-SageMaker-"
INVOKE_PATH = "/endpoints/emulated/async-invocations"


@asynccontextmanager
async def running(clock: Any = None, **given: Any) -> AsyncIterator[Emulator]:
    settings = EmulatorSettings(**{"service_time": ServiceTime(median=0.0), **given})
    async with Emulator(settings, clock=clock) as emulator:
        yield emulator


async def invoke(wire: Any, body: bytes = b"{}", **headers: str) -> Any:
    named = {PREFIX + name.replace("_", "-"): value for name, value in headers.items()}
    return await wire.ask("POST", INVOKE_PATH, named, body, service="sagemaker")


async def ask_sqs(wire: Any, operation: str, **asked: Any) -> Any:
    target = {"X-Amz-Target": f"AmazonSQS.{operation}"}
    return await wire.ask("POST", "/", target, orjson.dumps(asked), service="sqs")


async def receive(emulator: Emulator, wire: Any, visibility: int = 43_200) -> list[dict[str, Any]]:
    """Return up to ten messages that are there now, whole."""
    asked = {"MaxNumberOfMessages": 10, "VisibilityTimeout": visibility}
    reply = await ask_sqs(wire, "ReceiveMessage", QueueUrl=emulator.queue_url, **asked)
    assert reply.status == 200
    received: list[dict[str, Any]] = orjson.loads(reply.body).get("Messages", [])
    return received


async def texts(emulator: Emulator, wire: Any) -> list[str]:
    """All messages so far, in order; taken, so a second call sees only newer ones."""
    bodies: list[str] = []
    while taken := await receive(emulator, wire):
        bodies += [message["Body"] for message in taken]
    return bodies


async def messages(emulator: Emulator, wire: Any) -> list[dict[str, Any]]:
    """The same, as read from JSON."""
    return [orjson.loads(text) for text in await texts(emulator, wire)]


async def events(emulator: Emulator, wire: Any) -> list[dict[str, Any]]:
    """All results so far, in order; taken too."""
    every = await messages(emulator, wire)
    return [event for event in every if event.get("eventName") != "TestNotification"]
