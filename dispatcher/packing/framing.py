"""How several records form one payload: joined without being parsed, and cut apart again."""

from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.packing.parcel import Framing


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands before, between and after the records of a payload.

    Attributes:
        content_type: MIME type of the payload, unless it is configured.
        before: Bytes before the first record.
        between: Bytes between two records.
        after: Bytes after the last record.
    """

    content_type: str
    before: bytes = b""
    between: bytes = b""
    after: bytes = b""

    def size(self, raw_bytes: int, count: int) -> int:
        """Return the exact size of a payload, in bytes.

        Args:
            raw_bytes: Bytes of all its records together.
            count: Number of its records, at least 1.
        """
        return len(self.before) + raw_bytes + len(self.between) * (count - 1) + len(self.after)

    def join(self, raws: Sequence[bytes]) -> bytes:
        """Return the payload of one or more records."""
        if len(raws) == 1:
            return self.before + raws[0] + self.after
        return self.before + self.between.join(raws) + self.after

    def cut(self, payload: bytes, sizes: Sequence[int]) -> list[bytes]:
        """Return the records of a payload that ``join`` made.

        Args:
            payload: The payload.
            sizes: Bytes of each record, in order.

        Raises:
            ValueError: The payload does not consist of records of these sizes.
        """
        if self.size(sum(sizes), len(sizes)) != len(payload):
            raise ValueError(
                f"a payload of {len(payload)} bytes does not hold {len(sizes)} records "
                f"of {sum(sizes)} bytes together"
            )
        raws = []
        start = len(self.before)
        for size in sizes:
            raws.append(payload[start : start + size])
            start += size + len(self.between)
        return raws


_FRAMES: dict[Framing, Frame] = {
    "none": Frame("application/json"),
    # No break after the last line: a container that splits at breaks would see an empty record.
    "lines": Frame("application/jsonlines", between=b"\n"),
    "json-array": Frame("application/json", before=b"[", between=b",", after=b"]"),
}


def frame(framing: Framing) -> Frame:
    """Return the frame of a framing; ``none`` frames one record only."""
    return _FRAMES[framing]
