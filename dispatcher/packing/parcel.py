"""Parcels: payloads that are ready to send, with their records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dispatcher.config.packing import Encoding
from dispatcher.flow.content import FileSlice
from dispatcher.records.record import LargeRecord, Record

Route: TypeAlias = Literal["inline", "s3"]


@dataclass(slots=True)
class Parcel:
    """One or more records encoded into one payload.

    Attributes:
        records: The records in the payload, in order; a large one is alone.
        payload: The exact bytes to send; empty where they are too many to hold, and then made from
            ``spooled`` when they are sent.
        content_type: The MIME type of the payload.
        route: ``inline`` in the request's body, ``s3`` in an object that the request names.
        encoding: The encoding of the payload.
        spooled: The bytes that the ledger spools, see ``packing.spool_format``; None: the payload
            itself.
    """

    records: Sequence[Record | LargeRecord]
    payload: bytes
    content_type: str
    route: Route
    encoding: Encoding = "json"
    spooled: bytes | FileSlice | None = None


def sent_bytes(parcel: Parcel) -> int:
    """Return the size of the payload in bytes; where it is made later, of its source bytes."""
    return len(parcel.payload or spooled_of(parcel))


def spooled_of(parcel: Parcel) -> bytes | FileSlice:
    """Return the bytes that the ledger spools for a parcel."""
    return parcel.payload if parcel.spooled is None else parcel.spooled
