"""Corrupted events and outputs. Pure: the caller passes the random numbers."""

from random import Random
from typing import Any, Final
from uuid import UUID

import orjson

from dispatcher.emulator.models.model import ModelResponse

MALFORMED: Final = (
    "truncated",
    "text",
    "number",
    "empty",
    "other types",
    "other status",
    "other response",
    "broken base64",
)
"""The ways in which an event makes no sense; the last four carry the true InferenceId."""


def foreign_event(event: dict[str, Any], rng: Random) -> str:
    """Return the event of another caller of the same endpoint.

    Args:
        event: A true one.
        rng: Names the other invocation.
    """
    stem = UUID(int=rng.getrandbits(128), version=4)
    parameters = dict(event.get("responseParameters", {}))
    for name in parameters.keys() & {"outputLocation", "failureLocation"}:
        folder = parameters[name].rpartition("/")[0]
        parameters[name] = f"{folder}/{stem}.out"
    other = {**event, "inferenceId": str(UUID(int=rng.getrandbits(128), version=4))}
    return orjson.dumps({**other, "responseParameters": parameters}).decode()


def malformed_event(event: dict[str, Any], rng: Random) -> str:
    """Return a message that resembles an event and makes no sense.

    Args:
        event: A true one.
        rng: Chooses one of ``MALFORMED``.
    """
    way = rng.choice(MALFORMED)
    whole = orjson.dumps(event).decode()
    if way == "truncated":
        return whole[: rng.randrange(1, len(whole))]
    if way == "text":
        return "no event"
    nonsense: Any = {
        "number": 42,
        "empty": {},
        "other types": {**event, "invocationStatus": 200, "responseParameters": [None]},
        "other status": {**event, "invocationStatus": "Paused"},
        "other response": {**event, "responseParameters": "s3://", "responseBody": 7},
        "broken base64": {**event, "responseBody": {"content": "%%%", "encoding": "BASE64"}},
    }[way]
    return orjson.dumps(nonsense).decode()


def without_last_output(response: ModelResponse) -> ModelResponse | None:
    """Return a response without its last output, or None where it is not a list of outputs.

    A list is JSON lines, which the content type shows, or a JSON array; an empty one has no last
    output.
    """
    if "lines" in response.content_type:
        lines = response.body.splitlines(keepends=True)
        return ModelResponse(b"".join(lines[:-1]), response.content_type) if lines else None
    if not response.body.lstrip().startswith(b"["):
        return None
    try:
        outputs = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None
    return ModelResponse(orjson.dumps(outputs[:-1]), response.content_type) if outputs else None
