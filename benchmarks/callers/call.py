"""The call that every contender makes."""

import json
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import NamedTuple, TypeAlias

from dispatcher.samples.records import lines

ENDPOINT = "bench"


class Call(NamedTuple):
    """One invocation: names are new each time, as in reality."""

    inference_id: str
    extension: str
    filename: str


Invoke: TypeAlias = Callable[[Call], str | None]
InvokeLater: TypeAlias = Callable[[Call], Awaitable[str | None]]


def calls(tag: str) -> Iterator[Call]:
    """Yield calls that differ from each other and from those of another tag."""
    for number in count():
        inference_id = f"{tag}-{number:012d}"
        yield Call(inference_id, f"{tag}/{number // 1000:08d}", f"{inference_id}.out")


def body(size: int) -> bytes:
    """Return a JSON record of exactly ``size`` bytes."""
    (record,) = lines(1, size, size, seed=1)
    json.loads(record)
    return record


def check(call: Call, location: str | None) -> None:
    """Refuse an answer that does not name the output asked for.

    Raises:
        RuntimeError: It does not.
    """
    if location is None or not location.endswith(f"/{call.extension}/{call.filename}"):
        raise RuntimeError(f"{call.inference_id} was answered with output location {location}")
