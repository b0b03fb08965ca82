"""Containers of the e2e tests, named to the emulator as ``containers:function``."""

import asyncio

import orjson

from dispatcher.emulator.model import ModelError, ModelRequest, ModelResponse


def poison(request: ModelRequest) -> bytes:
    """Fail for records that say so, and echo the others."""
    if b'"poison"' in request.body:
        raise ModelError(400, "this record is poison")
    return request.body


def not_json(request: ModelRequest) -> ModelResponse:
    return ModelResponse(b"\x89PNG not json", "image/png")


def one_short(request: ModelRequest) -> ModelResponse:
    """Answer a JSON array with one output less than records."""
    return ModelResponse(orjson.dumps(orjson.loads(request.body)[:-1]), "application/json")


def doubled(request: ModelRequest) -> ModelResponse:
    """Answer JSON lines: each record's number, doubled."""
    numbers = [orjson.loads(line)["n"] * 2 for line in request.body.split(b"\n")]
    return ModelResponse(b"\n".join(map(orjson.dumps, numbers)), "application/jsonlines")


class Gate:
    """A container that answers nobody until the gate is opened, and then everybody."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def echo(self, request: ModelRequest) -> bytes:
        await self.opened.wait()
        return request.body


gate = Gate()
"""To be replaced by each test that uses it: an event belongs to one loop."""


async def gated(request: ModelRequest) -> bytes:
    return await gate.echo(request)
