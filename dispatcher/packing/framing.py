"""Framing: several records joined into one payload without being parsed."""

from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.config.packing import TEMPLATE_MARK, PackingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The bytes before, between and after the records of a payload.

    Attributes:
        before: Bytes before the first record.
        between: Bytes between two records.
        after: Bytes after the last record.
        counts: The header of a MessagePack array, with the number of records, stands before.
    """

    before: bytes = b""
    between: bytes = b""
    after: bytes = b""
    counts: bool = False

    def size(self, item_bytes: int, count: int) -> int:
        """Return the exact size of a payload, in bytes.

        Args:
            item_bytes: Bytes of all its records together.
            count: Number of its records, at least 1.
        """
        around = len(self.header(count)) + len(self.after)
        return around + item_bytes + len(self.between) * (count - 1)

    def header(self, count: int) -> bytes:
        """Return the bytes before this number of records."""
        return _array_header(count) if self.counts else self.before

    def join(self, items: Sequence[bytes]) -> bytes:
        """Return the payload of one or more records."""
        before = self.header(len(items))
        if len(items) == 1:
            return before + items[0] + self.after
        return before + self.between.join(items) + self.after


def frame_of(settings: PackingSettings) -> Frame:
    """Return the frame of payloads by the setting; ``none`` frames one record only."""
    match settings.framing:
        case "none":
            return Frame()
        case "lines":
            # No break after the last line: a container that splits at breaks would see an empty
            # record.
            return Frame(between=b"\n")
        case "json-array":
            return Frame(before=b"[", between=b",", after=b"]")
        case "msgpack-array":
            return Frame(counts=True)
        case "template":
            assert settings.template is not None, "checked with the configuration"
            before, _, after = settings.template.partition(TEMPLATE_MARK)
            return Frame(before=f"{before}[".encode(), between=b",", after=f"]{after}".encode())


def _array_header(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    if count < 65_536:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")
