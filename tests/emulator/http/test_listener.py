"""The listening socket and the end of its connections."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dispatcher.emulator.http.listener import url_of
from dispatcher.emulator.server import Emulator
from dispatcher.errors import ConfigError


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")]
)
def test_url_of_an_address(host: str, url: str) -> None:
    assert url_of(host, 80) == url


async def test_leaving_the_emulator_cuts_connections_without_a_trace(
    quick: Any, connect: Callable[[str], Awaitable[Any]], waiting: Any
) -> None:
    async with Emulator(quick.model_copy(update={"events": False})) as emulator:
        wire = await connect(emulator.url)
        wire.send(
            "POST",
            "/",
            {"X-Amz-Target": "AmazonSQS.ReceiveMessage"},
            b'{"QueueUrl":"%s","WaitTimeSeconds":20}' % emulator.queue_url.encode(),
            service="sqs",
        )
        await waiting(emulator, "completions", 1)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await wire.reply()
    assert len(asyncio.all_tasks()) == 1


async def test_port_in_use_shows_the_remedy(quick: Any, emulator: Emulator) -> None:
    port = int(emulator.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=rf"port {port}.*emulator\.port"):
        await Emulator(quick.model_copy(update={"port": port})).__aenter__()
