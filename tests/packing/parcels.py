"""All ways to pack, and how to pack and look at what came out."""

import base64
import random
from collections.abc import Iterable, Sequence
from typing import Any

from dispatcher.config.packing import Encoding, Framing, PackingSettings
from dispatcher.packing.adaptive_batch_size import BatchSize
from dispatcher.packing.codec import Codec
from dispatcher.packing.packer import Packer, RefusedRecord
from dispatcher.packing.parcel import Parcel, spooled_of
from dispatcher.packing.spool_format import cut_records
from dispatcher.records.record import Key, LargeRecord, Position, Record
from tests.payloads import packing

TEMPLATE = '{"instances": [...], "parameters": {}}'

_JSON: list[Framing] = ["lines", "json-array", "template"]

PLAIN: list[tuple[Framing, Encoding]] = [
    *((framing, "json") for framing in _JSON),
    ("msgpack-array", "msgpack"),
]
COMPRESSED: list[tuple[Framing, Encoding]] = [
    *((framing, "json+gzip") for framing in _JSON),
    *((framing, "json+zstd") for framing in _JSON),
    ("msgpack-array", "msgpack+gzip"),
    ("msgpack-array", "msgpack+zstd"),
]
FRAMED = [*PLAIN, *COMPRESSED]
"""All ways to pack several records."""

ALONE: list[tuple[Framing, Encoding]] = [
    ("none", "json"),
    ("none", "json+gzip"),
    ("none", "json+zstd"),
    ("none", "msgpack"),
    ("none", "msgpack+gzip"),
    ("none", "msgpack+zstd"),
]


def settings(framing: Framing, *encodings: Encoding, **given: Any) -> PackingSettings:
    template = {"template": TEMPLATE} if framing == "template" else {}
    given = {"linger": 1.0, "encodings": list(encodings), **template, **given}
    return packing(framing, **given)


def packer_of(
    made_with: PackingSettings, *, staging: bool = True, batch_size: BatchSize | None = None
) -> Packer:
    codec = Codec(made_with, content_type=None)
    return Packer(made_with, codec, staging=staging, batch_size=batch_size)


def records(raws: Iterable[bytes], keys: Sequence[Key] | None = None) -> list[Record]:
    return [
        Record(Position("f", n, n + 1, n + 1), n if keys is None else keys[n], raw)
        for n, raw in enumerate(raws)
    ]


def pack(made: Packer, some: Sequence[Record | LargeRecord]) -> list[Parcel | RefusedRecord]:
    return [*made.add(some, 0.0), *made.flush()]


def parcels_of(packed: Iterable[Parcel | RefusedRecord]) -> list[Parcel]:
    found = []
    for one in packed:
        assert isinstance(one, Parcel), one
        found.append(one)
    return found


def keys(packed: Iterable[Parcel | RefusedRecord]) -> list[list[Key]]:
    return [
        [record.key for record in one.records] if isinstance(one, Parcel) else [one.record.key]
        for one in packed
    ]


def spools_its_records(parcel: Parcel) -> bool:
    """Return whether a parcel spools its records as they were read."""
    raws = [record.raw for record in parcel.records]
    spooled = spooled_of(parcel)
    assert isinstance(spooled, bytes)
    return cut_records(spooled, [len(raw) for raw in raws]) == raws


def text(size: int, seed: int = 1) -> bytes:
    """Return a JSON string of so many bytes that becomes a quarter smaller, and no more."""
    content = base64.b64encode(random.Random(seed).randbytes(size))
    return b'"%b"' % content[: size - 2]
