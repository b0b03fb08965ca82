"""Routing of a record with a payload of its own: encoding and route, or the refusal."""

from dataclasses import dataclass

from dispatcher import limits
from dispatcher.config.packing import Encoding
from dispatcher.flow.content import FileSlice
from dispatcher.packing.codec import Codec, compression_of, format_of
from dispatcher.packing.compression import Compression, exceeds
from dispatcher.packing.parcel import Parcel
from dispatcher.packing.values import Format, NotEncodableError
from dispatcher.reasons import Reason
from dispatcher.records.record import LargeRecord, Record

_LARGE_BYTES = 1_000_000
"""Size from which a record hardly ever fits when compressed, and takes long to compress."""


def is_known_too_large(item: bytes, compression: Compression | None, max_bytes: int) -> bool:
    """Return whether a record certainly exceeds a size, without compressing all of it.

    Args:
        item: The record as it stands in a payload before compression.
        compression: Its compression; without one the result is False.
        max_bytes: Largest size it may have when compressed.
    """
    if compression is None or len(item) < _LARGE_BYTES:
        return False
    return exceeds(item, compression, max_bytes)


@dataclass(slots=True)
class RefusedRecord:
    """A record that cannot be sent; it ends as a dead letter.

    Attributes:
        record: The record.
        reason: ``NO_STAGING``: too large for an inline request, and no bucket to stage it in.
            ``TOO_LARGE``: larger than the service takes at all. ``NOT_ENCODABLE``: no encoding can
            carry its value.
        message: A sentence with sizes in bytes, and the remedy.
    """

    record: Record | LargeRecord
    reason: Reason
    message: str


class _EncodedRecord:
    """One record in the formats of all encodings; it is read and parsed once at most."""

    def __init__(self, codec: Codec, record: Record | LargeRecord) -> None:
        self._codec = codec
        self._record = record
        self._raw: bytes | None = None
        self._value: tuple[object] | None = None
        self._error: NotEncodableError | None = None
        self._items: dict[Format, bytes] = {}

    def remember(self, form: Format, item: bytes) -> None:
        """Take over an item that was encoded before."""
        self._items[form] = item

    def item(self, form: Format) -> bytes:
        """Return the record as it stands in a payload before compression.

        Raises:
            ChangedError: The record's content has changed.
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
            assert self._raw is not None, "item() has read it"
            try:
                self._value = (self._codec.value(self._raw),)
            except NotEncodableError as error:
                self._error = error
                raise
        return self._value[0]


class Routing:
    """Choice of encoding and route for one record, by the exact bytes of its payload; pure.

    Args:
        codec: Makes payloads.
        staging: Whether there is a bucket for payloads that are too large for inline.
    """

    def __init__(self, codec: Codec, *, staging: bool) -> None:
        self._codec = codec
        self._staging = staging

    def route(
        self, record: Record, *, item: bytes | None = None, first: bytes | None = None
    ) -> Parcel | RefusedRecord:
        """Return the parcel of one record.

        The first encoding whose payload fits inline wins. If none fits, the first that can carry
        the record at all goes to S3. A large payload that has to be compressed for that is made
        later, by the sender.

        Args:
            record: The record.
            item: The record in the format of the first encoding, where that exists already.
            first: Its payload in the first encoding, where that exists already.
        """
        error = None
        encoded = _EncodedRecord(self._codec, record)
        if item is not None:
            encoded.remember(format_of(self._codec.encodings[0]), item)
        staged: tuple[Encoding, bytes] | None = None
        min_size: int | None = None
        for encoding in self._codec.encodings:
            payload, first = first, None
            if payload is None:
                try:
                    item = encoded.item(format_of(encoding))
                except NotEncodableError as reason:
                    error = error or reason
                    continue
                # Without a bucket the exact size is needed for the message of the refusal.
                if (self._staging or staged is not None) and self._is_known_too_large(
                    item, encoding
                ):
                    staged = staged or (encoding, b"")
                    continue
                payload = self._codec.finish([item], encoding)
            size = len(payload)
            if size <= limits.INLINE_BODY_BYTES:
                return self._parcel(record, payload, encoding, record.raw)
            if staged is None and size <= limits.STAGED_BODY_BYTES:
                staged = encoding, payload
            min_size = size if min_size is None else min(min_size, size)
        if staged is not None and self._staging:
            return self._parcel(record, staged[1], staged[0], record.raw)
        if min_size is None:
            return RefusedRecord(record, Reason.NOT_ENCODABLE, str(error))
        return _too_large(record, min_size) if staged is None else _no_staging(record, min_size)

    def route_large(self, record: LargeRecord) -> Parcel | RefusedRecord:
        """Return the parcel of a record that is not held in memory; it goes to S3.

        The sender makes its payload. A record that has to be parsed (MessagePack, or a ``select``)
        is read here as well, as a whole, to know whether it can be encoded: some seconds for some
        hundred megabytes. The parsers hold the interpreter's lock, so calling them stops the event
        loop even from a worker thread.
        """
        error = size = None
        encoded = _EncodedRecord(self._codec, record)
        for encoding in self._codec.encodings:
            try:
                size = self._size(record, encoded, encoding)
            except NotEncodableError as reason:
                error = error or reason
                continue
            # Its compressed size is known when it is sent; it is hardly ever larger.
            if size <= limits.STAGED_BODY_BYTES or compression_of(encoding) is not None:
                if not self._staging:
                    return _no_staging(record, size)
                return self._parcel(record, b"", encoding, record.content)
        if size is None:
            return RefusedRecord(record, Reason.NOT_ENCODABLE, str(error))
        return _too_large(record, size)

    def _is_known_too_large(self, item: bytes, encoding: Encoding) -> bool:
        return is_known_too_large(item, compression_of(encoding), limits.INLINE_BODY_BYTES)

    def _size(self, record: LargeRecord, encoded: _EncodedRecord, encoding: Encoding) -> int:
        """Return the size of a record's payload before compression, in bytes."""
        splices = self._codec.splices(encoding)
        size = record.size if splices else len(encoded.item(format_of(encoding)))
        return self._codec.frame.size(size, 1)

    def _parcel(
        self,
        record: Record | LargeRecord,
        payload: bytes,
        encoding: Encoding,
        spooled: bytes | FileSlice,
    ) -> Parcel:
        inline = bool(payload) and len(payload) <= limits.INLINE_BODY_BYTES
        content_type = self._codec.content_type(encoding)
        return Parcel(
            [record], payload, content_type, "inline" if inline else "s3", encoding, spooled
        )


def _too_large(record: Record | LargeRecord, size: int) -> RefusedRecord:
    return RefusedRecord(
        record,
        Reason.TOO_LARGE,
        f"the payload would have {size} bytes; the service takes at most "
        f"{limits.STAGED_BODY_BYTES}",
    )


def _no_staging(record: Record | LargeRecord, size: int) -> RefusedRecord:
    return RefusedRecord(
        record,
        Reason.NO_STAGING,
        f"the payload would have {size} bytes, inline requests take at most "
        f"{limits.INLINE_BODY_BYTES}; set staging.bucket to send larger ones through S3",
    )
