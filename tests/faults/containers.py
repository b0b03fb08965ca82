"""Containers of the fault harnesses, named to the emulator as ``tests.faults.containers:function``.

Asynchronous, so that they run in the emulator's own loop: thousands are asked in a second.
"""

import gzip

import orjson
import zstandard

from dispatcher.emulator.models.model import ModelError, ModelRequest, ModelResponse

POISONS = {
    "refused": "model_error",
    "broken": "model_server_error",
    "silent": "count_mismatch",
    "garbled": "bad_answer",
}
"""Kinds of harm that a record does to its container, each with the reason of its dead letter."""

LINES = "application/jsonlines"


def lines_in(request: ModelRequest) -> list[bytes]:
    """Return the records of a request, which are JSON lines, perhaps compressed."""
    kind = request.content_type or ""
    body = request.body
    if kind.endswith("encoding=gzip"):
        body = gzip.decompress(body)
    elif kind.endswith("encoding=zstd"):
        body = zstandard.decompress(body)
    return [line for line in body.split(b"\n") if line]


async def poisoned(request: ModelRequest) -> ModelResponse:
    """Echo records, unless one among them says how the whole request is to fail."""
    lines = lines_in(request)
    bad = {}
    for line in lines:
        if b'"poison"' in line:
            record = orjson.loads(line)
            bad[record["poison"]] = record["id"]
    if "refused" in bad:
        raise ModelError(400, f"{bad['refused']} is refused")
    if "broken" in bad:
        raise ModelError(500, f"{bad['broken']} breaks the container")
    if "garbled" in bad:
        return ModelResponse(b"{oops, %s" % str(bad["garbled"]).encode(), LINES)
    if "silent" in bad:
        lines = [line for line in lines if b'"silent"' not in line]
    return ModelResponse(b"".join(line + b"\n" for line in lines), LINES)


async def alone(request: ModelRequest) -> ModelResponse:
    """Refuse what holds more than one record."""
    lines = lines_in(request)
    if len(lines) > 1:
        raise ModelError(400, f"{len(lines)} records are too many")
    return ModelResponse(request.body, request.content_type or LINES)


async def swollen(request: ModelRequest) -> ModelResponse:
    """Answer each record with as many bytes as it asks for."""
    records = [orjson.loads(line) for line in lines_in(request)]
    outputs = [orjson.dumps({"n": r["n"], "pad": "x" * r["swell"]}) for r in records]
    return ModelResponse(b"".join(output + b"\n" for output in outputs), LINES)
