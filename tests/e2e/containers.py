"""Containers of the e2e tests, named to the emulator as ``containers:function``."""

import asyncio
from collections.abc import Callable
from functools import cache

import orjson

from dispatcher.emulator.models.model import ModelError, ModelRequest, ModelResponse


def poison(request: ModelRequest) -> bytes:
    """Fail for records that say so, and echo the others."""
    if b'"poison"' in request.body:
        raise ModelError(400, "this record is poison")
    return request.body


def length(request: ModelRequest) -> ModelResponse:
    """Answer with the number of bytes, which may be many."""
    return ModelResponse(orjson.dumps(len(request.body)), "application/json")


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
    """A container that answers no request until the gate is opened, and then every one.

    Args:
        expected: As soon as so many wait, it is full.
    """

    def __init__(self, expected: int = 0) -> None:
        self.opened = asyncio.Event()
        self.full = asyncio.Event()
        self._missing = expected

    async def echo(self, request: ModelRequest) -> bytes:
        self._missing -= 1
        if not self._missing:
            self.full.set()
        await self.opened.wait()
        return request.body


gate = Gate()
"""To be replaced by each test that uses it: an event belongs to one loop."""


async def gated(request: ModelRequest) -> bytes:
    return await gate.echo(request)


Handler = Callable[[ModelRequest], ModelResponse]


def _undocumented(request: ModelRequest) -> ModelResponse:
    raise ModelError(500, "no handler is set")


handler: Handler = _undocumented
"""To be replaced by a test."""


def handled(request: ModelRequest) -> ModelResponse:
    return handler(request)


def lines_but_of_poison(request: ModelRequest) -> ModelResponse:
    """Echo JSON lines, and say nothing of poison: the answer is short."""
    lines = [line for line in request.body.split(b"\n") if b'"poison"' not in line]
    return ModelResponse(b"\n".join(lines), "application/jsonlines")


def pairs(request: ModelRequest) -> ModelResponse:
    """Answer each JSON line with an array in a line, and call that JSON, as many servers do."""
    if b'"poison"' in request.body:
        raise ModelError(400, "this record is poison")
    records = [orjson.loads(line) for line in request.body.split(b"\n")]
    answers = [orjson.dumps([record["n"], record["text"]]) for record in records]
    return ModelResponse(b"\n".join(answers), "application/json")


def around(request: ModelRequest) -> ModelResponse:
    """Answer a JSON array of records with a document around one of outputs."""
    return ModelResponse(orjson.dumps({"predictions": orjson.loads(request.body)}))


def backwards(request: ModelRequest) -> ModelResponse:
    """Echo a JSON array from its end, with another record's id for poison."""
    outputs = [orjson.loads(line) for line in request.body.split(b"\n")]
    for output in outputs:
        if "poison" in output["text"]:
            output["id"] = "another record's"
    return ModelResponse(orjson.dumps(outputs[::-1]), "application/json")


def broken(request: ModelRequest) -> ModelResponse:
    """Echo JSON lines, which end in the middle after poison."""
    if b'"poison"' in request.body:
        return ModelResponse(b'{"id": "r0", "text": ', "application/json")
    return ModelResponse(request.body, "application/jsonlines")


HUGE_BYTES = 200_000_000


@cache
def _huge_array() -> bytes:
    text = b'"' + b"x" * 1_000_000 + b'",'
    return b"[" + text * (HUGE_BYTES // len(text)) + b"0]"


def huge(request: ModelRequest) -> ModelResponse:
    """Echo JSON lines, and answer 200 MB for poison: an array of long texts."""
    if b'"poison"' in request.body:
        return ModelResponse(_huge_array(), "application/json")
    return ModelResponse(request.body, "application/jsonlines")
