"""Records become parcels: as many in each as fit, by exact bytes, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dispatcher import limits
from dispatcher.config.packing import PackingSettings
from dispatcher.packing.codec import Codec
from dispatcher.packing.keeping import keep
from dispatcher.packing.parcel import Parcel
from dispatcher.sources.record import Large, Record

RefusedReason: TypeAlias = Literal["no_staging", "too_large"]


@dataclass(slots=True)
class Refused:
    """A record that cannot be sent; it ends as a dead letter.

    Attributes:
        record: The record.
        reason: ``no_staging``: too large for an inline request, and no bucket to stage it in.
            ``too_large``: larger than the service takes at all.
        message: A sentence with sizes in bytes, and what to do.
    """

    record: Record | Large
    reason: RefusedReason
    message: str


class Packer:
    """Fills one parcel after the other; it decides, and never waits.

    A parcel is full when the next record would break a bound: ``max_records``, ``max_bytes``, or
    the service's limit of an inline body. A record that breaks a bound by itself travels alone, so
    only parcels of one record are ever staged.

    Args:
        settings: The section ``packing``.
        codec: Makes payloads.
        staging: Whether there is a bucket for payloads that are too large for inline.
    """

    def __init__(self, settings: PackingSettings, codec: Codec, *, staging: bool) -> None:
        self._codec = codec
        self._frame = codec.frame
        self._encoding = codec.encodings[0]
        self._staging = staging
        self._most_bytes = min(settings.max_bytes, limits.INLINE_BODY_BYTES)
        self._most_records = settings.max_records
        self._linger = settings.linger
        self._open: list[Record] = []
        self._size = 0
        self._deadline: float | None = None

    @property
    def deadline(self) -> float | None:
        """When the open parcel must go, on the clock of ``add``; None where none is open."""
        return self._deadline

    def add(self, records: Sequence[Record | Large], now: float) -> list[Parcel | Refused]:
        """Pack records, and return the parcels that became full, in order of their first record.

        Args:
            records: The next records, in order.
            now: Seconds on any steady clock.
        """
        full: list[Parcel | Refused] = []
        most_bytes, most_records = self._most_bytes, self._most_records
        between = len(self._frame.between)
        around = self._frame.size(0, 1)
        for record in records:
            if isinstance(record, Large):
                raise NotImplementedError
            size = len(record.raw)
            if self._open:
                if self._size + between + size <= most_bytes:
                    self._open.append(record)
                    self._size += between + size
                    # Every record has a byte: with no room for another one, waiting is in vain.
                    if len(self._open) == most_records or self._size + between >= most_bytes:
                        full.append(self._close())
                    continue
                full.append(self._close())
            if most_records == 1 or around + size + between >= most_bytes:
                full.append(self._alone(record, around + size))
            else:
                self._open.append(record)
                self._size = around + size
                self._deadline = now + self._linger
        return full

    def flush(self) -> list[Parcel]:
        """Return the open parcel, full or not; empty where none is open."""
        return [self._close()] if self._open else []

    def _close(self) -> Parcel:
        records, self._open = self._open, []
        self._deadline = None
        raws = [record.raw for record in records]
        payload = self._codec.payload(raws, self._encoding)
        return Parcel(
            records,
            payload,
            self._codec.content_type(self._encoding),
            "inline",
            self._encoding,
            keep(raws),
        )

    def _alone(self, record: Record, size: int) -> Parcel | Refused:
        if size > limits.STAGED_BODY_BYTES:
            return Refused(
                record,
                "too_large",
                f"the payload would have {size} bytes; the service takes at most "
                f"{limits.STAGED_BODY_BYTES}",
            )
        inline = size <= limits.INLINE_BODY_BYTES
        if not inline and not self._staging:
            return Refused(
                record,
                "no_staging",
                f"the payload would have {size} bytes, inline requests take at most "
                f"{limits.INLINE_BODY_BYTES}; set staging.bucket to send larger ones through S3",
            )
        payload = self._codec.payload([record.raw], self._encoding)
        return Parcel(
            [record],
            payload,
            self._codec.content_type(self._encoding),
            "inline" if inline else "s3",
            self._encoding,
            record.raw,
        )
