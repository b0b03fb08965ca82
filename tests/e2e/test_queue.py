"""Queues as source and sink over real HTTP: each message its own result, and gone only then."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dispatcher.aws.transport import open_transport
from dispatcher.config.settings import AwsSettings
from dispatcher.emulator.mailbox import Mailbox
from tests.e2e.conftest import Json, Way

WayTo = Callable[..., Awaitable[Way]]


@dataclass
class Queues:
    """An emulator's queues, and a way through them."""

    way: Way

    def url(self, name: str) -> str:
        return f"{self.way.emulator.url}/000000000000/{name}"

    def mailbox(self, name: str) -> Mailbox:
        return self.way.emulator.queues.by_name[name]

    async def make(self, name: str, **attributes: int) -> str:
        settings = AwsSettings()
        async with open_transport(settings, connections=4, access=self.way.access) as transport:
            made = await transport.clients.sqs.create_queue(
                QueueName=name, Attributes={key: str(value) for key, value in attributes.items()}
            )
        url: str = made["QueueUrl"]
        return url

    def send(self, name: str, *bodies: object) -> None:
        for body in bodies:
            self.mailbox(name).send(body if isinstance(body, str) else json.dumps(body))

    def bodies(self, name: str) -> list[Json]:
        mailbox = self.mailbox(name)
        taken: list[Json] = []
        while some := mailbox.queue.receive(10, now=0.0):
            taken += [json.loads(message.body) for message in some]
        return taken

    def left(self, name: str) -> tuple[int, ...]:
        return tuple(self.mailbox(name).queue.counts(0.0))
