"""Steps that the tests of staging share: plan, clean up, die at a fail point, resume."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import anyio
import pytest

from dispatcher import failpoints
from dispatcher.config.packing import Encoding
from dispatcher.dispatch.staging.upload import PART_BYTES
from dispatcher.flow.content import LARGE_BYTES
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record
from tests.dispatch.scene import Scene

SOME = b'{"some":"content"}'
OTHER = b'{"other":"content"}'
ON_SETTLED = {"bucket": "inputs", "prefix": "staged/", "delete": "on_settled"}


class Died(BaseException):
    """Stands for a killed process."""


async def plan(scene: Scene, *raws: bytes, encoding: Encoding = "json") -> list[Planned]:
    parcels = []
    for raw in raws:
        number = next(scene._numbers)
        position = Position("in", number * 10, number * 10 + 10, number + 1)
        record = Record(position, f"key-{number}", raw)
        payload = b"" if len(raw) >= LARGE_BYTES else raw
        kept = raw if len(raw) >= LARGE_BYTES else None
        parcels.append(Parcel([record], payload, "application/json", "s3", encoding, kept))
    return await scene.ledger.plan(parcels)


@asynccontextmanager
async def cleaning(scene: Scene) -> AsyncIterator[None]:
    """Delete in the background; at the end everything is deleted, or has failed."""
    async with anyio.create_task_group() as group:
        group.start_soon(scene.staging.cleanup.run)
        yield
        await scene.staging.cleanup.finish()


@asynccontextmanager
async def dying_at(name: str) -> AsyncIterator[None]:
    def hook(reached: str) -> None:
        if reached == name:
            raise Died

    failpoints.hooks.append(hook)
    try:
        with pytest.raises(Died):
            yield
    finally:
        failpoints.hooks.remove(hook)


def resumed(scene: Scene) -> list[Entry]:
    return [scene.entry(planned) for planned in scene.ledger.resumed]


@cache
def large(size: int = 5 * PART_BYTES // 2) -> bytes:
    return b'"' + random.Random(1).randbytes(size // 2).hex().encode() + b'"'
