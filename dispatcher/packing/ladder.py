"""A record that travels alone: which encoding, which route, or why not at all."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from dispatcher import limits
from dispatcher.config.packing import Encoding
from dispatcher.packing.codec import Codec, compression_of, format_of
from dispatcher.packing.compression import exceeds
from dispatcher.packing.parcel import Parcel
from dispatcher.packing.values import NotEncodableError
from dispatcher.sources.blob import Blob
from dispatcher.sources.record import Large, Record

RefusedReason: TypeAlias = Literal["no_staging", "too_large", "not_encodable"]

_LARGE_BYTES = 1_000_000
"""From here on a record hardly ever fits when compressed, and compressing it takes long."""


@dataclass(slots=True)
class Refused:
    """A record that cannot be sent; it ends as a dead letter.

    Attributes:
        record: The record.
        reason: ``no_staging``: too large for an inline request, and no bucket to stage it in.
            ``too_large``: larger than the service takes at all. ``not_encodable``: no encoding can
            carry its value.
        message: A sentence with sizes in bytes, and what to do.
    """

    record: Record | Large
    reason: RefusedReason
    message: str


class Ladder:
    """Finds the encoding of one record, by the exact bytes of its payload; pure.

    Args:
        codec: Makes payloads.
        staging: Whether there is a bucket for payloads that are too large for inline.
    """

    def __init__(self, codec: Codec, *, staging: bool) -> None:
        self._codec = codec
        self._staging = staging

    def alone(self, record: Record, first: bytes | None = None) -> Parcel | Refused:
        """Return the parcel of one record.

        The first encoding whose payload fits inline wins. If none fits, the first that can carry
        the record at all goes to S3.

        Args:
            record: The record.
            first: Its payload in the first encoding, where that has been made.
        """
        raw, error = record.raw, None
        staged: tuple[Encoding, bytes] | None = None
        least: int | None = None
        for encoding in self._codec.encodings:
            try:
                if staged is not None and self._is_hopeless(raw, encoding):
                    continue
                payload = first or self._codec.payload([raw], encoding)
            except NotEncodableError as reason:
                error = error or reason
                continue
            first = None
            size = len(payload)
            if size <= limits.INLINE_BODY_BYTES:
                return self._parcel(record, payload, encoding, raw)
            if staged is None and size <= limits.STAGED_BODY_BYTES:
                staged = encoding, payload
            least = size if least is None else min(least, size)
        if least is None:
            return Refused(record, "not_encodable", str(error))
        if staged is None:
            return _too_large(record, least)
        if not self._staging:
            return _no_staging(record, least)
        return self._parcel(record, staged[1], staged[0], raw)

    def large(self, record: Large) -> Parcel | Refused:
        """Return the parcel of a record that is not held in memory; it goes to S3.

        Its payload is left to be made where it is sent. What has to be parsed (MessagePack, or a
        ``select``) is read here as well, all of it, to know whether it can be encoded.
        """
        error = size = None
        for encoding in self._codec.encodings:
            try:
                size = self._size(record, encoding)
            except NotEncodableError as reason:
                error = error or reason
                continue
            # What it is when compressed is known where it is sent; hardly ever more.
            if size <= limits.STAGED_BODY_BYTES or compression_of(encoding) is not None:
                if not self._staging:
                    return _no_staging(record, size)
                return self._parcel(record, b"", encoding, record.blob)
        if size is None:
            return Refused(record, "not_encodable", str(error))
        return _too_large(record, size)

    def _is_hopeless(self, raw: bytes, encoding: Encoding) -> bool:
        """Return whether a large record can be known not to fit inline, without compressing it."""
        if (compression := compression_of(encoding)) is None or len(raw) < _LARGE_BYTES:
            return False
        item = self._codec.item(raw, format_of(encoding))
        return exceeds(item, compression, limits.INLINE_BODY_BYTES)

    def _size(self, record: Large, encoding: Encoding) -> int:
        """Return the bytes of its payload before compression."""
        if self._codec.splices(encoding):
            return self._codec.frame.size(record.size, 1)
        return self._codec.frame.size(len(self._codec.item(record.raw, format_of(encoding))), 1)

    def _parcel(
        self, record: Record | Large, payload: bytes, encoding: Encoding, kept: bytes | Blob
    ) -> Parcel:
        inline = bool(payload) and len(payload) <= limits.INLINE_BODY_BYTES
        content_type = self._codec.content_type(encoding)
        return Parcel([record], payload, content_type, "inline" if inline else "s3", encoding, kept)


def _too_large(record: Record | Large, size: int) -> Refused:
    return Refused(
        record,
        "too_large",
        f"the payload would have {size} bytes; the service takes at most "
        f"{limits.STAGED_BODY_BYTES}",
    )


def _no_staging(record: Record | Large, size: int) -> Refused:
    return Refused(
        record,
        "no_staging",
        f"the payload would have {size} bytes, inline requests take at most "
        f"{limits.INLINE_BODY_BYTES}; set staging.bucket to send larger ones through S3",
    )
