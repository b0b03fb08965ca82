"""The container of the simulated endpoint: it reads every payload that a run can make. Pure.

A record says by its field ``fail`` how its whole request fails: with a status, with one
output too few (``short``), or with an output that cannot be read (``garble``).
"""

import gzip
import random
from collections.abc import Sequence
from typing import Any

import msgpack
import orjson
import zstandard

from dispatcher.emulator.models.model import ModelError, ModelResponse

TEMPLATE = '{"instances": [...]}'
POINTER = "/predictions"
"""Path of the list of outputs in the output for a payload of ``TEMPLATE``."""

_GARBAGE = {"application/msgpack": b"\xc1"}


def records_in(payload: bytes, content_type: str | None) -> list[Any]:
    """Return the records of a payload, in order; none for an empty one."""
    kind, _, compression = (content_type or "").partition("; encoding=")
    if not payload:
        return []
    if compression == "gzip":
        payload = gzip.decompress(payload)
    elif compression == "zstd":
        payload = zstandard.decompress(payload)
    if kind == "application/jsonlines":
        return [orjson.loads(line) for line in payload.split(b"\n") if line]
    is_packed = kind == "application/msgpack"
    value = msgpack.unpackb(payload) if is_packed else orjson.loads(payload)
    if isinstance(value, dict) and "instances" in value:
        value = value["instances"]
    return value if isinstance(value, list) else [value]


def numbers_in(payload: bytes, content_type: str | None) -> tuple[int, ...]:
    """Return which records a payload holds, in order."""
    return tuple(record["n"] for record in records_in(payload, content_type))


def spoils(records: Sequence[Any], *, by_id: bool) -> bool:
    """Return whether an answer to these records cannot be split, though the container succeeds."""
    names = [str(record.get("id")) for record in records]
    twice = by_id and len(set(names)) < len(names)
    return twice or any(record.get("fail") in ("short", "garble") for record in records)


def predict(
    payload: bytes, content_type: str | None, framing: str, *, lines: bool, shuffle: str | None
) -> ModelResponse:
    """Return the answer: each record's number, doubled, framed as the request asks for.

    Args:
        payload: The request.
        content_type: Its MIME type.
        framing: ``packing.framing`` of the run.
        lines: Answer with JSON lines where the framing leaves it to the container.
        shuffle: Names an order of the outputs, which have the field ``id`` then; None keeps it.

    Raises:
        ModelError: A record says so.
    """
    records = records_in(payload, content_type)
    for record in records:
        if isinstance(record.get("fail"), int):
            raise ModelError(record["fail"], f"record {record['n']} fails")
    kind = (content_type or "").partition(";")[0]
    is_packed = kind == "application/msgpack"
    if any(record.get("fail") == "garble" for record in records) and framing != "none":
        return ModelResponse(_GARBAGE.get(kind, b"{oops"), kind)
    outputs: list[Any] = [
        {"n": record["n"], "twice": 2 * record["n"]}
        | ({} if shuffle is None else {"id": record["id"]})
        for record in records
        if record.get("fail") != "short" or framing == "none"
    ]
    if shuffle is not None:
        random.Random(shuffle).shuffle(outputs)
    if framing == "none":
        answer = outputs[0]
        body = msgpack.packb(answer) if is_packed else orjson.dumps(answer)
        return ModelResponse(body, kind)
    if framing == "template":
        return ModelResponse(orjson.dumps({"predictions": outputs}))
    if is_packed:
        return ModelResponse(msgpack.packb(outputs), kind)
    if lines:
        body = b"".join(orjson.dumps(output) + b"\n" for output in outputs)
        return ModelResponse(body, "application/jsonlines")
    return ModelResponse(orjson.dumps(outputs))
