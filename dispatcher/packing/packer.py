"""The packer: records in order to parcels, as many in each as fit by exact bytes."""

from collections import deque
from collections.abc import Sequence

from dispatcher.config.packing import PackingSettings
from dispatcher.flow.content import LARGE_BYTES
from dispatcher.packing.adaptive_batch_size import BatchSize
from dispatcher.packing.codec import Codec, compression_of, format_of
from dispatcher.packing.compressed_batch import CompressedBatch
from dispatcher.packing.parcel import Parcel
from dispatcher.packing.routing import RefusedRecord, Routing, is_known_too_large
from dispatcher.packing.spool_format import join_records
from dispatcher.packing.values import NotEncodableError
from dispatcher.records.record import LargeRecord, Record

__all__ = ["Packer", "RefusedRecord"]

MAX_RAW_BYTES = LARGE_BYTES
"""Most bytes as read of the records that share a parcel: their payload may be tiny."""

_SURE_BYTES = 64_000
"""A smaller record that is sent as it was read fits inline in the first encoding."""


class Packer:
    """Packer of one parcel after the other, in the first encoding; pure, it never waits.

    Any thread may use it, one at a time, see ``is_slow``.

    A parcel is full when the next record would break a bound: ``max_records``, ``max_bytes``, or
    the service's limit of an inline body. A record that breaks a bound by itself, or that the first
    encoding cannot carry, gets a parcel of its own, see ``Routing``; so only parcels of one record
    are ever staged. Where outputs name their records by an id, no two records of a parcel have the
    same key as text. The parcels depend only on the records, not on the batches they come in.

    Args:
        settings: The section ``packing``.
        codec: Makes payloads.
        staging: Whether there is a bucket for payloads that are too large for inline.
        batch_size: Limits the records of a parcel where many are bad; asked at the begin of each
            parcel, on the thread that packs.
    """

    def __init__(
        self,
        settings: PackingSettings,
        codec: Codec,
        *,
        staging: bool,
        batch_size: BatchSize | None = None,
    ) -> None:
        self._codec = codec
        self._routing = Routing(codec, staging=staging)
        self._frame = codec.frame
        self._encoding = codec.encodings[0]
        self._form = format_of(self._encoding)
        self._splices = codec.splices(self._encoding)
        self._compression = compression_of(self._encoding)
        self._content_type = codec.content_type(self._encoding)
        self._has_others = len(codec.encodings) > 1
        # Records joined as they were read are already in the spool's format.
        self._payload_is_spooled = self._splices and self._compression is None
        self._payload_is_spooled &= self._frame.join([b"1", b"2"]) == join_records([b"1", b"2"])
        self._max_bytes = settings.max_bytes
        self._max_records = self._open_max_records = settings.max_records
        self._linger = settings.linger
        self._batch_size = batch_size
        self._open: list[Record] = []
        self._began = 0.0
        self._keys: set[str] | None = None if settings.answer.id is None else set()
        # Of the open parcel: bytes as read, and its records as they stand in the payload.
        self._raw_bytes = 0
        self._items: list[bytes] = []
        self._size = 0
        self._batch: CompressedBatch | None = None

    @property
    def deadline(self) -> float | None:
        """The time to flush the open parcel, on the clock of ``add``; None where none is open."""
        return self._began + self._linger if self._open else None

    def is_slow(self, records: Sequence[Record | LargeRecord]) -> bool:
        """Return whether adding these records, or a flush, belongs on a worker thread.

        It does where anything is parsed or compressed: a record of 12 MB takes half a second.
        Splicing a thousand small lines takes less time than the hop to a thread.
        """
        if not self._splices or self._compression is not None:
            return True
        return self._has_others and any(record.size > _SURE_BYTES for record in records)

    def read_bytes(self, records: Sequence[Record | LargeRecord]) -> int:
        """Return how many bytes of large records ``add`` has to read into memory."""
        if self._splices:
            return 0
        return max(
            (record.size for record in records if isinstance(record, LargeRecord)), default=0
        )

    def add(
        self, records: Sequence[Record | LargeRecord], now: float
    ) -> list[Parcel | RefusedRecord]:
        """Pack records; return the full parcels, in order of their first record.

        Args:
            records: The next records, in order.
            now: Seconds on any steady clock.
        """
        full: list[Parcel | RefusedRecord] = []
        if self._max_records == 1:
            full.extend(map(self._route_alone, records))
        elif self._compression is None:
            self._add_plain(records, now, full)
        else:
            self._add_compressed(records, now, full)
        return full

    def flush(self) -> list[Parcel | RefusedRecord]:
        """Close and return the open parcel, full or not; empty where none is open.

        Compressed records may turn out to need several parcels.
        """
        full: list[Parcel | RefusedRecord] = []
        while self._open:
            if self._batch is None:
                full.append(self._close())
            else:
                rest = self._compress_and_close(self._batch, full)
                self._add_compressed(rest, self._began, full)
        return full

    def _add_plain(
        self,
        records: Sequence[Record | LargeRecord],
        now: float,
        full: list[Parcel | RefusedRecord],
    ) -> None:
        max_bytes, between = self._max_bytes, len(self._frame.between)
        around, counts = self._frame.size(0, 1), self._frame.counts
        splices, is_simple = self._splices, self._splices and self._keys is None
        for record in records:
            if isinstance(record, LargeRecord):
                self._add_alone(record, full)
                continue
            item = record.raw if splices else self._item(record.raw)
            if item is None:
                self._add_alone(record, full)
                continue
            size = len(item)
            if self._open:
                step = between + size
                if counts:
                    count = len(self._open)
                    step += self._frame.size(0, count + 1) - self._frame.size(0, count)
                if self._size + step <= max_bytes and (is_simple or self._may_join(record)):
                    self._open.append(record)
                    self._size += step
                    if not is_simple:
                        self._track(record, item)
                    # Every record has at least a byte: without room for one, the parcel is full.
                    if (
                        len(self._open) == self._open_max_records
                        or self._size + between >= max_bytes
                    ):
                        full.append(self._close())
                    continue
                full.append(self._close())
            if around + size + between >= max_bytes or not self._update_limit():
                full.append(self._routing.route(record, item=item))
                continue
            self._open.append(record)
            self._began, self._size = now, around + size
            if not is_simple:
                self._track(record, item)

    def _add_compressed(
        self,
        records: Sequence[Record | LargeRecord],
        now: float,
        full: list[Parcel | RefusedRecord],
    ) -> None:
        assert self._compression is not None
        coming = deque(records)
        while coming:
            record = coming.popleft()
            item = None if isinstance(record, LargeRecord) else self._item(record.raw)
            if isinstance(record, LargeRecord) or item is None:
                self._add_alone(record, full)
                continue
            if is_known_too_large(item, self._compression, self._max_bytes):
                full.extend(self.flush())
                full.append(self._routing.route(record, item=item))
                continue
            if self._batch is not None:
                if not self._may_join(record):
                    rest = self._compress_and_close(self._batch, full)
                elif self._batch.is_due(item):
                    rest = self._compress_waiting(self._batch, full)
                    if self._open and self._batch.is_full_for(item):
                        full.append(self._close())
                else:
                    rest = []
                if rest:
                    coming.extendleft((record, *reversed(rest)))
                    continue
            if self._batch is None:
                if not self._update_limit():
                    full.append(self._routing.route(record, item=item))
                    continue
                self._began = now
                self._batch = CompressedBatch(self._frame, self._compression, self._max_bytes)
            self._open.append(record)
            self._track(record, item)
            self._batch.add(item)
            if len(self._open) == self._open_max_records:
                coming.extendleft(reversed(self._compress_and_close(self._batch, full)))

    def _compress_and_close(
        self, batch: CompressedBatch, full: list[Parcel | RefusedRecord]
    ) -> list[Record]:
        """Close the open parcel; return the records that did not fit."""
        rest = self._compress_waiting(batch, full)
        if self._open:
            full.append(self._close())
        return rest

    def _compress_waiting(
        self, batch: CompressedBatch, full: list[Parcel | RefusedRecord]
    ) -> list[Record]:
        """Compress the waiting records; if some do not fit, close the parcel and return those."""
        excess = batch.compress()
        if not excess:
            return []
        fits = len(self._open) - excess
        rest = self._open[fits:]
        if fits:
            del self._open[fits:]
            full.append(self._close())
        else:
            payload = batch.payload() if excess == 1 else None
            self._reset()
            full.append(self._routing.route(rest.pop(0), first=payload))
        return rest

    def _item(self, raw: bytes) -> bytes | None:
        """Return a record as it stands in the payload; None where the encoding cannot carry it."""
        try:
            return self._codec.item(raw, self._form)
        except NotEncodableError:
            return None

    def _add_alone(self, record: Record | LargeRecord, full: list[Parcel | RefusedRecord]) -> None:
        """Close the open parcel, then add one of this record, which cannot share a parcel."""
        full.extend(self.flush())
        full.append(self._route_alone(record))

    def _route_alone(self, record: Record | LargeRecord) -> Parcel | RefusedRecord:
        if isinstance(record, LargeRecord):
            return self._routing.route_large(record)
        return self._routing.route(record)

    def _update_limit(self) -> bool:
        """Update the limit for the next parcel; return whether several records may share it."""
        if self._batch_size is not None:
            self._open_max_records = self._batch_size.limit(self._max_records)
        return self._open_max_records > 1

    def _may_join(self, record: Record) -> bool:
        """Return whether a record may join the open parcel, if it fits."""
        if self._raw_bytes + record.size > MAX_RAW_BYTES:
            return False
        return self._keys is None or str(record.key) not in self._keys

    def _track(self, record: Record, item: bytes) -> None:
        """Update the open parcel's totals with a record that joined it."""
        self._raw_bytes += len(record.raw)
        if not self._splices and self._batch is None:
            self._items.append(item)
        if self._keys is not None:
            self._keys.add(str(record.key))

    def _close(self) -> Parcel:
        records, items, batch = self._open, self._items, self._batch
        self._reset()
        raws = [record.raw for record in records]
        if batch is not None:
            payload = batch.payload()
        else:
            payload = self._frame.join(raws if self._splices else items)
        return Parcel(
            records,
            payload,
            self._content_type,
            "inline",
            self._encoding,
            None if self._payload_is_spooled else join_records(raws),
        )

    def _reset(self) -> None:
        self._open = []
        self._items = []
        self._batch = None
        self._raw_bytes = 0
        if self._keys is not None:
            self._keys = set()
