"""The task of every peer: its arguments, and one result line a record."""

import argparse
import base64
import binascii
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDPOINT = "bench"
STAGING = "stub-input"
IN_FLIGHT = 32
"""Calls at once of the asyncio programs; threads are fewer, for each is a call."""


@dataclass(slots=True, frozen=True)
class Task:
    """Options of a peer's command."""

    records: Path
    out: Path
    queue: str
    staged: bool

    @classmethod
    def from_command_line(cls, description: str | None) -> "Task":
        """Read the options of a peer's command."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--records", type=Path, required=True)
        parser.add_argument("--out", type=Path, required=True)
        parser.add_argument("--queue", default="")
        parser.add_argument("--staged", action="store_true")
        return cls(**vars(parser.parse_args()))

    def lines(self) -> Iterator[bytes]:
        """Yield the records as they stand in the file."""
        with self.records.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")


def key_of(line: bytes) -> str:
    """Return the name of a record."""
    key: str = json.loads(line)["id"]
    return key


def new_id() -> str:
    """Return an inference id."""
    return uuid.uuid4().hex


def names(inference_id: str) -> dict[str, str]:
    """Return the parameters that every invocation has."""
    return {
        "EndpointName": ENDPOINT,
        "InferenceId": inference_id,
        "ContentType": "application/json",
    }


def bucket_and_key(location: str) -> tuple[str, str]:
    """Return the parts of ``s3://bucket/key``."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return bucket, key


def answer_in(event: dict[str, Any]) -> bytes | None:
    """Return the answer that travels in an event, or None: it is in the object."""
    content = (event.get("responseBody") or {}).get("content")
    try:
        return base64.b64decode(content) if content else None
    except binascii.Error:
        return None


def result_line(key: str, output: bytes) -> bytes:
    """Return the line of a result; the output is JSON already."""
    return b'{"key":%b,"output":%b}\n' % (json.dumps(key).encode(), output)
