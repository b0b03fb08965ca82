"""Containers of the e2e tests, named to the emulator as ``containers:function``."""

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
