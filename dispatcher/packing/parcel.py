"""What packing makes: payloads that are ready to send."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from dispatcher.sources.record import Record

Route: TypeAlias = Literal["inline", "s3"]
Framing: TypeAlias = Literal["none", "lines", "json-array"]


@dataclass(slots=True)
class Parcel:
    """One or more records encoded into one payload.

    Attributes:
        records: The records in the payload, in order.
        payload: The exact bytes to send.
        content_type: The MIME type of the payload.
        route: ``inline`` in the request's body, ``s3`` by an object that the request names.
    """

    records: list[Record]
    payload: bytes
    content_type: str
    route: Route
