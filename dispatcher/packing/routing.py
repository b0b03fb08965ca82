"""A record that travels alone: which encoding, which route, or why not at all."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from dispatcher import limits
from dispatcher.config.packing import Encoding
from dispatcher.flow.content import FileSlice
from dispatcher.packing.codec import Codec, compression_of, format_of
from dispatcher.packing.compression import Compression, exceeds
from dispatcher.packing.parcel import Parcel
from dispatcher.packing.values import Format, NotEncodableError
from dispatcher.records.record import Large, Record

RefusedReason: TypeAlias = Literal["no_staging", "too_large", "not_encodable"]

_LARGE_BYTES = 1_000_000
"""From here on a record hardly ever fits when compressed, and compressing it takes long."""


def is_hopeless(item: bytes, compression: Compression | None, most: int) -> bool:
    """Return whether a large record is known not to fit, without compressing all of it.

    Args:
        item: The record as it stands in a payload before compression.
        compression: How it would be compressed; nothing is told of a record that is not.
        most: Bytes that it may become.
    """
    if compression is None or len(item) < _LARGE_BYTES:
        return False
    return exceeds(item, compression, most)


@dataclass(slots=True)
class RefusedRecord:
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


class _Forms:
    """One record in the formats of the ladder; it is read and parsed once at most."""

    def __init__(self, codec: Codec, record: Record | Large) -> None:
        self._codec = codec
        self._record = record
        self._raw: bytes | None = None
        self._value: tuple[object] | None = None
        self._error: NotEncodableError | None = None
        self._items: dict[Format, bytes] = {}

    def look_up(self, form: Format, item: bytes) -> None:
        """Take what has been made already."""
        self._items[form] = item

    def item(self, form: Format) -> bytes:
        """Return the record as it stands in a payload before compression.

        Raises:
            ChangedError: The record's blob is not what it was.
            NotEncodableError: The format cannot carry it.
        """
        if form not in self._items:
            if self._raw is None:
                self._raw = self._record.raw
            self._items[form] = self._codec.item(self._raw, form, self._parsed)
        return self._items[form]

    def _parsed(self) -> object:
        if self._error is not None:
            raise self._error
        if self._value is None:
            assert self._raw is not None, "it was read for its item"
            try:
                self._value = (self._codec.value(self._raw),)
            except NotEncodableError as error:
                self._error = error
                raise
        return self._value[0]


class Routing:
    """Finds the encoding of one record, by the exact bytes of its payload; pure.

    Args:
        codec: Makes payloads.
        staging: Whether there is a bucket for payloads that are too large for inline.
    """

    def __init__(self, codec: Codec, *, staging: bool) -> None:
        self._codec = codec
        self._staging = staging

    def alone(
        self, record: Record, *, item: bytes | None = None, first: bytes | None = None
    ) -> Parcel | RefusedRecord:
        """Return the parcel of one record.

        The first encoding whose payload fits inline wins. If none fits, the first that can carry
        the record at all goes to S3. A large payload that has to be compressed for that is left to
        be made where it is sent.

        Args:
            record: The record.
            item: The record in the format of the first encoding, where that has been made.
            first: Its payload in the first encoding, where that has been made.
        """
        error = None
        forms = _Forms(self._codec, record)
        if item is not None:
            forms.look_up(format_of(self._codec.encodings[0]), item)
        staged: tuple[Encoding, bytes] | None = None
        least: int | None = None
        for encoding in self._codec.encodings:
            payload, first = first, None
            if payload is None:
                try:
                    item = forms.item(format_of(encoding))
                except NotEncodableError as reason:
                    error = error or reason
                    continue
                # Without a bucket the message of the refusal tells the exact size.
                if (self._staging or staged is not None) and self._is_hopeless(item, encoding):
                    staged = staged or (encoding, b"")
                    continue
                payload = self._codec.finish([item], encoding)
            size = len(payload)
            if size <= limits.INLINE_BODY_BYTES:
                return self._parcel(record, payload, encoding, record.raw)
            if staged is None and size <= limits.STAGED_BODY_BYTES:
                staged = encoding, payload
            least = size if least is None else min(least, size)
        if staged is not None and self._staging:
            return self._parcel(record, staged[1], staged[0], record.raw)
        if least is None:
            return RefusedRecord(record, "not_encodable", str(error))
        return _too_large(record, least) if staged is None else _no_staging(record, least)

    def large(self, record: Large) -> Parcel | RefusedRecord:
        """Return the parcel of a record that is not held in memory; it goes to S3.

        Its payload is left to be made where it is sent. What has to be parsed (MessagePack, or a
        ``select``) is read here as well, all of it, to know whether it can be encoded: some
        seconds for some hundred megabytes. The parsers hold the interpreter's lock, so a call of
        theirs stops the event loop even from a worker thread.
        """
        error = size = None
        forms = _Forms(self._codec, record)
        for encoding in self._codec.encodings:
            try:
                size = self._size(record, forms, encoding)
            except NotEncodableError as reason:
                error = error or reason
                continue
            # What it is when compressed is known where it is sent; hardly ever more.
            if size <= limits.STAGED_BODY_BYTES or compression_of(encoding) is not None:
                if not self._staging:
                    return _no_staging(record, size)
                return self._parcel(record, b"", encoding, record.blob)
        if size is None:
            return RefusedRecord(record, "not_encodable", str(error))
        return _too_large(record, size)

    def _is_hopeless(self, item: bytes, encoding: Encoding) -> bool:
        return is_hopeless(item, compression_of(encoding), limits.INLINE_BODY_BYTES)

    def _size(self, record: Large, forms: _Forms, encoding: Encoding) -> int:
        """Return the bytes of its payload before compression."""
        splices = self._codec.splices(encoding)
        size = record.size if splices else len(forms.item(format_of(encoding)))
        return self._codec.frame.size(size, 1)

    def _parcel(
        self, record: Record | Large, payload: bytes, encoding: Encoding, kept: bytes | FileSlice
    ) -> Parcel:
        inline = bool(payload) and len(payload) <= limits.INLINE_BODY_BYTES
        content_type = self._codec.content_type(encoding)
        return Parcel([record], payload, content_type, "inline" if inline else "s3", encoding, kept)


def _too_large(record: Record | Large, size: int) -> RefusedRecord:
    return RefusedRecord(
        record,
        "too_large",
        f"the payload would have {size} bytes; the service takes at most "
        f"{limits.STAGED_BODY_BYTES}",
    )


def _no_staging(record: Record | Large, size: int) -> RefusedRecord:
    return RefusedRecord(
        record,
        "no_staging",
        f"the payload would have {size} bytes, inline requests take at most "
        f"{limits.INLINE_BODY_BYTES}; set staging.bucket to send larger ones through S3",
    )
