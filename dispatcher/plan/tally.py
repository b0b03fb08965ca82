"""Counts of the requests that one packing makes of an input, in bounded memory; pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import pairwise

from dispatcher import limits
from dispatcher.config.packing import PackingSettings
from dispatcher.dispatch.staging.upload import PART_BYTES
from dispatcher.packing.packer import MAX_RAW_BYTES, RefusedRecord
from dispatcher.packing.parcel import Parcel, sent_bytes
from dispatcher.plan.cost import Assumptions, Usage, classic, invocation, put_requests
from dispatcher.records.record import LargeRecord, Record, Unreadable

_DIGITS = 1_000
"""Numbers below this are counted exactly, others to three digits."""

_STEPS = (1, 2, 5)

PERCENTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
"""The percentiles of a spread that are reported."""


class Spread:
    """Distribution of numbers in bounded memory: to three digits, so within half a percent.

    Attributes:
        count: The number of numbers.
        total: Their sum.
        smallest: The smallest, exactly; 0 where there is none.
        largest: The largest, exactly; 0 where there is none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.smallest = 0
        self.largest = 0
        self._counts: Counter[int] = Counter()

    def add(self, number: int) -> None:
        """Count one number, 0 or more."""
        if number < self.smallest or not self.count:
            self.smallest = number
        self.largest = max(self.largest, number)
        self.count += 1
        self.total += number
        unit = 1
        while number >= _DIGITS * unit:
            unit *= 10
        self._counts[number - number % unit] += 1

    @property
    def mean(self) -> float:
        """The mean; 0.0 where there is none."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, share: float) -> int:
        """Return the number that ``share`` (0..1) of them do not exceed; 0 where there is none."""
        left = share * self.count
        for number in sorted(self._counts):
            left -= self._counts[number]
            if left <= 0:
                return min(max(number, self.smallest), self.largest)
        return self.largest

    def steps(self) -> Iterator[tuple[int, int, int]]:
        """Yield low, high and count, in steps of 1, 2, 5, 10, 20 ... with the empty ones."""
        if not self.count:
            return
        edges = [0]
        unit = 1
        while edges[-1] <= self.largest:
            edges += [step * unit for step in _STEPS]
            unit *= 10
        for low, high in pairwise(edges):
            if high > self.smallest and low <= self.largest:
                found = sum(n for number, n in self._counts.items() if low <= number < high)
                yield low, high, found


@dataclass(slots=True)
class Refusals:
    """Records that are refused for one reason.

    Attributes:
        records: Their number.
        place: The place of the first one, as ``in.jsonl, line 7``.
        message: The message of the first one.
    """

    records: int
    place: str
    message: str


def refuse(refused: dict[str, Refusals], item: Unreadable | RefusedRecord, *, named: bool) -> None:
    """Count a record that would be a dead letter.

    Args:
        refused: The refusals so far, by reason.
        item: The record.
        named: Its place is its key, as of files; otherwise its stream and line.
    """
    known = refused.get(item.reason)
    if known is not None:
        known.records += 1
        return
    record = item.record if isinstance(item, RefusedRecord) else item
    place = str(record.key) if named else f"{record.position.stream}, line {record.position.line}"
    refused[item.reason] = Refusals(1, place, item.message)


@dataclass(frozen=True, slots=True)
class PartialRequest:
    """The request that was not full at the end of a sample; more of the input would join it.

    Attributes:
        records: Records in it.
        full_records: Records it would have, had the input continued alike; at least ``records``.
    """

    records: int
    full_records: float

    @property
    def share(self) -> float:
        """Return its share of a full request, 0..1."""
        return self.records / self.full_records


@dataclass(slots=True)
class Tally:
    """The requests that one way of packing makes.

    Attributes:
        named: Records are known by their keys, see ``refuse``.
        requests: Requests by encoding and route.
        records: Records by encoding and route.
        bytes: Bytes of the payloads, by route.
        content_types: Requests by content type.
        sizes: Records a request.
        fills: Bytes of the inline payloads.
        refused: Records that cannot be sent, by reason.
        shapes: Requests by their records and PUT requests, which decide their cost.
        partial: Of these, the one that is not full because the input continues; None: all are as
            in a run.
    """

    named: bool
    _: KW_ONLY
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    records: Counter[tuple[str, str]] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    content_types: Counter[str] = field(default_factory=Counter)
    sizes: Spread = field(default_factory=Spread)
    fills: Spread = field(default_factory=Spread)
    refused: dict[str, Refusals] = field(default_factory=dict)
    shapes: Counter[tuple[int, int]] = field(default_factory=Counter)
    partial: PartialRequest | None = None

    def add(self, packed: Iterable[Parcel | RefusedRecord]) -> None:
        """Count the packer's parcels and refusals."""
        for item in packed:
            if isinstance(item, RefusedRecord):
                refuse(self.refused, item, named=self.named)
                continue
            count, size = len(item.records), sent_bytes(item)
            self.requests[item.encoding, item.route] += 1
            self.records[item.encoding, item.route] += count
            self.bytes[item.route] += size
            self.content_types[item.content_type] += 1
            self.sizes.add(count)
            puts = 0
            if item.route == "inline":
                self.fills.add(size)
            else:
                puts = put_requests(size, PART_BYTES, PART_BYTES)
            self.shapes[count, puts] += 1

    def finish(
        self, flushed: Sequence[Parcel | RefusedRecord], packing: PackingSettings, *, ended: bool
    ) -> None:
        """Count the rest from the packer.

        Args:
            flushed: Its last parcels; only the last one may be less than full.
            packing: The bounds of a full request.
            ended: The input ended here, so that a run would send it as it is.
        """
        if flushed and not ended:
            *flushed, last = flushed
            self.add(flushed)
            if isinstance(last, Parcel) and last.route == "inline":
                self.partial = PartialRequest(len(last.records), self._full_records(last, packing))
            flushed = [last]
        self.add(flushed)

    def _full_records(self, parcel: Parcel, packing: PackingSettings) -> float:
        """Return the records of a full request, by the other requests, or by the bounds."""
        records = len(parcel.records)
        shared = {count: n for (count, _), n in self.shapes.items() if count > 1}
        if shared:
            # Large records with a request of their own say nothing about shared requests.
            usual = sum(count * n for count, n in shared.items()) / sum(shared.values())
        else:
            raw = sum(record.size for record in parcel.records)
            usual = min(
                packing.max_records,
                packing.max_bytes * records // sent_bytes(parcel),
                MAX_RAW_BYTES * records // max(raw, 1),
            )
        return max(usual, records)

    @property
    def requests_made(self) -> float:
        """All requests; the partial one counts by its share."""
        return self.total if self.partial is None else self.total - 1 + self.partial.share

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.requests.values())

    @property
    def refused_records(self) -> int:
        """All records that cannot be sent."""
        return sum(refusal.records for refusal in self.refused.values())

    def by_route(self, counts: Counter[tuple[str, str]], route: str) -> int:
        """Return the number of ``requests`` or ``records`` on one route."""
        return sum(n for (_, taken), n in counts.items() if taken == route)

    @property
    def fill(self) -> float:
        """Return the mean share of the inline limit that inline payloads take, 0..1."""
        return self.fills.mean / limits.INLINE_BODY_BYTES

    def usage(self, assumed: Assumptions) -> Usage:
        """Return the usage of all of it."""
        used = Usage()
        for (records, puts), times in sorted(self.shapes.items()):
            used.add(invocation(records, puts, assumed), times)
        return used

    def usage_made(self, assumed: Assumptions) -> Usage:
        """Return the same, with the partial request as a share of a full one."""
        used = self.usage(assumed)
        if self.partial is not None:
            used.add(invocation(self.partial.records, 0, assumed), -1.0)
            used.add(invocation(round(self.partial.full_records), 0, assumed), self.partial.share)
        return used


class Classic:
    """The same records in the usual flow: each uploaded, invoked and fetched by itself."""

    def __init__(self) -> None:
        self._puts: Counter[int] = Counter()

    def add(self, records: Sequence[Record | LargeRecord]) -> None:
        """Count records."""
        self._puts.update(put_requests(record.size) for record in records)

    def usage(self) -> Usage:
        """Return the usage of all of it."""
        used = Usage()
        for puts, times in sorted(self._puts.items()):
            used.add(classic(puts), times)
        return used
