"""What packing makes: payloads that are ready to send."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dispatcher.config.packing import Encoding
from dispatcher.flow.content import FileSlice
from dispatcher.records.record import Large, Record

Route: TypeAlias = Literal["inline", "s3"]


@dataclass(slots=True)
class Parcel:
    """One or more records encoded into one payload.

    Attributes:
        records: The records in the payload, in order; a large one is alone.
        payload: The exact bytes to send; empty where they are too many to hold, and made of what is
            kept when they are sent.
        content_type: The MIME type of the payload.
        route: ``inline`` in the request's body, ``s3`` by an object that the request names.
        encoding: How the payload is made of the records.
        kept: What the ledger keeps, see ``packing.keeping``; None: the payload itself.
    """

    records: Sequence[Record | Large]
    payload: bytes
    content_type: str
    route: Route
    encoding: Encoding = "json"
    kept: bytes | FileSlice | None = None


def sent_bytes(parcel: Parcel) -> int:
    """Return how many bytes are sent; where the payload is made later, how many it is made of."""
    return len(parcel.payload or kept_of(parcel))


def kept_of(parcel: Parcel) -> bytes | FileSlice:
    """Return what the ledger keeps of a parcel."""
    return parcel.payload if parcel.kept is None else parcel.kept
