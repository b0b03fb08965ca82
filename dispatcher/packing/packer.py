"""Records become parcels: as many in each as fit, by exact bytes, in order."""

from collections import deque
from collections.abc import Sequence

from dispatcher.config.packing import PackingSettings
from dispatcher.flow.content import LARGE_BYTES
from dispatcher.packing.batch_size import BatchSize
from dispatcher.packing.codec import Codec, compression_of, format_of
from dispatcher.packing.compressed_batch import CompressedBatch
from dispatcher.packing.parcel import Parcel
from dispatcher.packing.routing import RefusedRecord, Routing, is_hopeless
from dispatcher.packing.spool_format import keep
from dispatcher.packing.values import NotEncodableError
from dispatcher.records.record import Large, Record

__all__ = ["Packer", "RefusedRecord"]

KEPT_BYTES = LARGE_BYTES
"""Most bytes, as read, of the records that share a parcel: what they become may be tiny."""

_SURE_BYTES = 64_000
"""A smaller record fits in the first encoding wherever that takes it as it was read."""


class Packer:
    """Fills one parcel after the other, in the first encoding; it decides, and never waits.

    It may be used on any thread, by one at a time, see ``is_slow``.

    A parcel is full when the next record would break a bound: ``max_records``, ``max_bytes``, or
    the service's limit of an inline body. A record that breaks a bound by itself, or that the first
    encoding cannot carry, travels alone, see ``ladder.Ladder``; so only parcels of one record are
    ever staged. Where answers are told apart by an id, no two records of a parcel have the same key
    as text. What comes out depends on the records and on nothing else, not on how they are handed
    over.

    Args:
        settings: The section ``packing``.
        codec: Makes payloads.
        staging: Whether there is a bucket for payloads that are too large for inline.
        sizing: Limits the records of a parcel where many are bad; asked whenever one is begun, on
            the thread that packs.
    """

    def __init__(
        self,
        settings: PackingSettings,
        codec: Codec,
        *,
        staging: bool,
        sizing: BatchSize | None = None,
    ) -> None:
        self._codec = codec
        self._ladder = Routing(codec, staging=staging)
        self._frame = codec.frame
        self._encoding = codec.encodings[0]
        self._form = format_of(self._encoding)
        self._splices = codec.splices(self._encoding)
        self._compression = compression_of(self._encoding)
        self._content_type = codec.content_type(self._encoding)
        self._has_others = len(codec.encodings) > 1
        # Spliced lines are already what is kept of them.
        self._is_kept = self._splices and self._compression is None
        self._is_kept &= self._frame.join([b"1", b"2"]) == keep([b"1", b"2"])
        self._most_bytes = settings.max_bytes
        self._max_records = self._most_records = settings.max_records
        self._linger = settings.linger
        self._sizing = sizing
        self._open: list[Record] = []
        self._began = 0.0
        self._keys: set[str] | None = None if settings.answer.id is None else set()
        # Of the open parcel: bytes as read, and what its records are in the payload.
        self._raw_bytes = 0
        self._items: list[bytes] = []
        self._size = 0
        self._filling: CompressedBatch | None = None

    @property
    def deadline(self) -> float | None:
        """When the open parcel must go, on the clock of ``add``; None where none is open."""
        return self._began + self._linger if self._open else None

    def is_slow(self, records: Sequence[Record | Large]) -> bool:
        """Return whether to add or flush takes so long that it belongs on a worker thread.

        That is where anything is parsed or compressed: a record of 12 MB takes half a second. To
        splice a thousand small lines takes less than to hand them to a thread.
        """
        if not self._splices or self._compression is not None:
            return True
        return self._has_others and any(record.size > _SURE_BYTES for record in records)

    def read_bytes(self, records: Sequence[Record | Large]) -> int:
        """Return how many bytes of records that are not held in memory are to be, to add them."""
        if self._splices:
            return 0
        return max((record.size for record in records if isinstance(record, Large)), default=0)

    def add(self, records: Sequence[Record | Large], now: float) -> list[Parcel | RefusedRecord]:
        """Pack records, and return the parcels that became full, in order of their first record.

        Args:
            records: The next records, in order.
            now: Seconds on any steady clock.
        """
        full: list[Parcel | RefusedRecord] = []
        if self._max_records == 1:
            full.extend(map(self._alone, records))
        elif self._compression is None:
            self._add_plain(records, now, full)
        else:
            self._add_pressed(records, now, full)
        return full

    def flush(self) -> list[Parcel | RefusedRecord]:
        """Return the open parcel, full or not; empty where none is open.

        Compressed, its records may turn out to be too many for one.
        """
        full: list[Parcel | RefusedRecord] = []
        while self._open:
            if self._filling is None:
                full.append(self._close())
            else:
                rest = self._shut(self._filling, full)
                self._add_pressed(rest, self._began, full)
        return full

    def _add_plain(
        self, records: Sequence[Record | Large], now: float, full: list[Parcel | RefusedRecord]
    ) -> None:
        most_bytes, between = self._most_bytes, len(self._frame.between)
        around, counts = self._frame.size(0, 1), self._frame.counts
        splices, is_simple = self._splices, self._splices and self._keys is None
        for record in records:
            if isinstance(record, Large):
                self._pass(record, full)
                continue
            item = record.raw if splices else self._item(record.raw)
            if item is None:
                self._pass(record, full)
                continue
            size = len(item)
            if self._open:
                step = between + size
                if counts:
                    count = len(self._open)
                    step += self._frame.size(0, count + 1) - self._frame.size(0, count)
                if self._size + step <= most_bytes and (is_simple or self._may_join(record)):
                    self._open.append(record)
                    self._size += step
                    if not is_simple:
                        self._note(record, item)
                    # Every record has a byte: with no room for another one, waiting is in vain.
                    if len(self._open) == self._most_records or self._size + between >= most_bytes:
                        full.append(self._close())
                    continue
                full.append(self._close())
            if around + size + between >= most_bytes or not self._may_be_many():
                full.append(self._ladder.alone(record, item=item))
                continue
            self._open.append(record)
            self._began, self._size = now, around + size
            if not is_simple:
                self._note(record, item)

    def _add_pressed(
        self, records: Sequence[Record | Large], now: float, full: list[Parcel | RefusedRecord]
    ) -> None:
        assert self._compression is not None
        coming = deque(records)
        while coming:
            record = coming.popleft()
            item = None if isinstance(record, Large) else self._item(record.raw)
            if isinstance(record, Large) or item is None:
                self._pass(record, full)
                continue
            if is_hopeless(item, self._compression, self._most_bytes):
                full.extend(self.flush())
                full.append(self._ladder.alone(record, item=item))
                continue
            if self._filling is not None:
                if not self._may_join(record):
                    rest = self._shut(self._filling, full)
                elif self._filling.is_due(item):
                    rest = self._press(self._filling, full)
                    if self._open and self._filling.is_full_for(item):
                        full.append(self._close())
                else:
                    rest = []
                if rest:
                    coming.extendleft((record, *reversed(rest)))
                    continue
            if self._filling is None:
                if not self._may_be_many():
                    full.append(self._ladder.alone(record, item=item))
                    continue
                self._began = now
                self._filling = CompressedBatch(self._frame, self._compression, self._most_bytes)
            self._open.append(record)
            self._note(record, item)
            self._filling.add(item)
            if len(self._open) == self._most_records:
                coming.extendleft(reversed(self._shut(self._filling, full)))

    def _shut(self, filling: CompressedBatch, full: list[Parcel | RefusedRecord]) -> list[Record]:
        """Close the open parcel; return records that turned out to be too many for it."""
        rest = self._press(filling, full)
        if self._open:
            full.append(self._close())
        return rest

    def _press(self, filling: CompressedBatch, full: list[Parcel | RefusedRecord]) -> list[Record]:
        """Compress what waits; where that is too much, close the parcel and return the others."""
        left = filling.press()
        if not left:
            return []
        fits = len(self._open) - left
        rest = self._open[fits:]
        if fits:
            del self._open[fits:]
            full.append(self._close())
        else:
            made = filling.payload() if left == 1 else None
            self._reset()
            full.append(self._ladder.alone(rest.pop(0), first=made))
        return rest

    def _item(self, raw: bytes) -> bytes | None:
        """Return a record as it stands in the payload; None where the encoding cannot carry it."""
        try:
            return self._codec.item(raw, self._form)
        except NotEncodableError:
            return None

    def _pass(self, record: Record | Large, full: list[Parcel | RefusedRecord]) -> None:
        """Let a record travel alone that cannot be in any parcel with others."""
        full.extend(self.flush())
        full.append(self._alone(record))

    def _alone(self, record: Record | Large) -> Parcel | RefusedRecord:
        if isinstance(record, Large):
            return self._ladder.large(record)
        return self._ladder.alone(record)

    def _may_be_many(self) -> bool:
        """Ask how many records the next parcel may have; return whether it is more than one."""
        if self._sizing is not None:
            self._most_records = self._sizing.most(self._max_records)
        return self._most_records > 1

    def _may_join(self, record: Record) -> bool:
        """Return whether a record may be in the open parcel, if it fits."""
        if self._raw_bytes + record.size > KEPT_BYTES:
            return False
        return self._keys is None or str(record.key) not in self._keys

    def _note(self, record: Record, item: bytes) -> None:
        """Take note of a record that is now in the open parcel."""
        self._raw_bytes += len(record.raw)
        if not self._splices and self._filling is None:
            self._items.append(item)
        if self._keys is not None:
            self._keys.add(str(record.key))

    def _close(self) -> Parcel:
        records, items, filling = self._open, self._items, self._filling
        self._reset()
        raws = [record.raw for record in records]
        if filling is not None:
            payload = filling.payload()
        else:
            payload = self._frame.join(raws if self._splices else items)
        return Parcel(
            records,
            payload,
            self._content_type,
            "inline",
            self._encoding,
            None if self._is_kept else keep(raws),
        )

    def _reset(self) -> None:
        self._open = []
        self._items = []
        self._filling = None
        self._raw_bytes = 0
        if self._keys is not None:
            self._keys = set()
