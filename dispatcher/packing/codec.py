"""Payloads made from records, in each of the configured encodings."""

from collections.abc import Callable, Sequence
from typing import cast

from dispatcher.config.packing import Encoding, PackingSettings
from dispatcher.packing.compressed_batch import compressed_payload
from dispatcher.packing.compression import Compression
from dispatcher.packing.framing import Frame, frame_of
from dispatcher.packing.select import SelectError, select
from dispatcher.packing.values import Format, NotEncodableError, encode, parse

_COMPRESSED = "; encoding="


class Codec:
    """Encoder of records, and of whole payloads; pure.

    Args:
        settings: The section ``packing``.
        content_type: The configured content type before compression; None derives it from
            encoding and framing.
        json_source: Every record is known to be one JSON value without line breaks; else it may be
            a file of any kind.

    Attributes:
        encodings: The configured encodings, in order of preference.
        frame: The bytes around and between the records of a payload.
    """

    def __init__(
        self, settings: PackingSettings, *, content_type: str | None, json_source: bool = True
    ) -> None:
        self.encodings: Sequence[Encoding] = tuple(settings.encodings)
        self.frame: Frame = frame_of(settings)
        self._settings = settings
        self._content_type = content_type
        self._json_source = json_source
        self._as_read: Format | None = None
        if settings.select is None:
            self._as_read = "json" if json_source else "raw"

    def splices(self, encoding: Encoding) -> bool:
        """Return whether records are sent as they were read, without being parsed."""
        return format_of(encoding) == self._as_read

    def item(self, raw: bytes, form: Format, value: Callable[[], object] | None = None) -> bytes:
        """Return one record as it stands in a payload before compression; at least one byte.

        Args:
            raw: The record as it was read.
            form: The format to write it in.
            value: Returns or raises what ``value`` does for it, where that is known already.

        Raises:
            NotEncodableError: The format cannot carry it.
        """
        item = raw if form == self._as_read else self._encoded(raw, form, value)
        if not item:
            # The service would take it for a request without a body.
            raise NotEncodableError("the record is empty, and a request needs at least one byte")
        return item

    def value(self, raw: bytes) -> object:
        """Return the part of a record that is sent, as a value.

        Raises:
            NotEncodableError: It has none.
        """
        value, expression = parse(raw), self._settings.select
        if expression is None:
            return value
        try:
            return select(expression, value)
        except SelectError as error:
            raise NotEncodableError(f"packing.select {error}") from error

    def _encoded(self, raw: bytes, form: Format, known: Callable[[], object] | None) -> bytes:
        value = self.value(raw) if known is None else known()
        if self._settings.select is None and form == "json":
            # A file may have line breaks; in JSON they stand only between tokens.
            return raw.strip().replace(b"\n", b" ").replace(b"\r", b" ")
        return encode(value, form)

    def payload(self, raws: Sequence[bytes], encoding: Encoding) -> bytes:
        """Return the payload of records.

        Raises:
            NotEncodableError: The encoding cannot carry one of them.
        """
        form = format_of(encoding)
        return self.finish([self.item(raw, form) for raw in raws], encoding)

    def finish(self, items: Sequence[bytes], encoding: Encoding) -> bytes:
        """Return the payload of records that are already in the encoding's format."""
        compression = compression_of(encoding)
        if compression is None:
            return self.frame.join(items)
        return compressed_payload(self.frame, compression, self._settings.max_bytes, items)

    def content_type(self, encoding: Encoding) -> str:
        """Return the MIME type of payloads in an encoding."""
        if (configured := self._settings.content_types.get(encoding)) is not None:
            return configured
        plain = self._content_type or self._default_type(format_of(encoding))
        compression = compression_of(encoding)
        return plain if compression is None else f"{plain}{_COMPRESSED}{compression}"

    def _default_type(self, form: Format) -> str:
        if form == "msgpack":
            return "application/msgpack"
        if form == "raw":
            return "application/octet-stream"
        return "application/jsonlines" if self._settings.framing == "lines" else "application/json"


def format_of(encoding: Encoding) -> Format:
    """Return the format of values in an encoding."""
    return cast("Format", encoding.partition("+")[0])


def compression_of(encoding: Encoding) -> Compression | None:
    """Return the compression of an encoding, if it has one."""
    return cast("Compression", encoding.partition("+")[2]) if "+" in encoding else None
