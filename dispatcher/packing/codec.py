"""From records to the bytes of a payload, for each encoding of the ladder."""

from collections.abc import Sequence
from typing import cast

import orjson

from dispatcher.config.packing import Encoding, PackingSettings
from dispatcher.packing.compression import Compression, compress
from dispatcher.packing.framing import Frame, frame_of
from dispatcher.packing.values import Format, encode

_COMPRESSED = "; encoding="


class Codec:
    """Makes payloads; pure.

    Args:
        settings: The section ``packing``.
        content_type: The configured content type before compression; None goes by encoding and
            framing.

    Attributes:
        encodings: The ladder, in order of preference.
        frame: How records are framed.
    """

    def __init__(self, settings: PackingSettings, *, content_type: str | None) -> None:
        self.encodings: Sequence[Encoding] = tuple(settings.encodings)
        self.frame: Frame = frame_of(settings)
        self._settings = settings
        self._content_type = content_type

    def splices(self, encoding: Encoding) -> bool:
        """Return whether records travel as they were read, without being parsed."""
        return format_of(encoding) == "json" and self._settings.select is None

    def item(self, raw: bytes, form: Format) -> bytes:
        """Return one record as it stands in a payload before compression.

        Raises:
            NotEncodableError: The format cannot carry it.
        """
        if form == "json" and self._settings.select is None:
            return raw
        return encode(orjson.loads(raw), form)

    def payload(self, raws: Sequence[bytes], encoding: Encoding) -> bytes:
        """Return the payload of records.

        Raises:
            NotEncodableError: The encoding cannot carry one of them.
        """
        form = format_of(encoding)
        return self.finish(self.frame.join([self.item(raw, form) for raw in raws]), encoding)

    def finish(self, framed: bytes, encoding: Encoding) -> bytes:
        """Return a payload of what ``frame`` joined: compressed where the encoding says so."""
        compression = compression_of(encoding)
        return framed if compression is None else compress(framed, compression)

    def content_type(self, encoding: Encoding) -> str:
        """Return the MIME type of payloads in an encoding."""
        if (configured := self._settings.content_types.get(encoding)) is not None:
            return configured
        plain = self._content_type or self._usual_type(format_of(encoding))
        compression = compression_of(encoding)
        return plain if compression is None else f"{plain}{_COMPRESSED}{compression}"

    def _usual_type(self, form: Format) -> str:
        if form == "msgpack":
            return "application/msgpack"
        if form == "raw":
            return "application/octet-stream"
        return "application/jsonlines" if self._settings.framing == "lines" else "application/json"


def format_of(encoding: Encoding) -> Format:
    """Return how values are written in an encoding."""
    return cast("Format", encoding.partition("+")[0])


def compression_of(encoding: Encoding) -> Compression | None:
    """Return how an encoding is compressed, if it is."""
    return cast("Compression", encoding.partition("+")[2]) if "+" in encoding else None
