"""Every record in exactly one parcel, in order, as many as fit, none over the limit."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import limits
from dispatcher.config.packing import Framing, PackingSettings
from dispatcher.packing.codec import Codec
from dispatcher.packing.framing import frame_of
from dispatcher.packing.packer import Packer, Refused
from dispatcher.packing.parcel import Parcel
from dispatcher.sources.record import Position, Record
from tests.payloads import packing

FRAMINGS: list[Framing] = ["none", "lines", "json-array"]
framings = pytest.mark.parametrize("framing", FRAMINGS)
several = pytest.mark.parametrize("framing", ["lines", "json-array"])


def records(sizes: Sequence[int]) -> list[Record]:
    return [Record(Position("f", n, n + 1, n + 1), n, b"7" * size) for n, size in enumerate(sizes)]


def packer(
    framing: Framing,
    *,
    max_records: int = 1000,
    max_bytes: int = limits.INLINE_BODY_BYTES,
    linger: float = 1.0,
    content_type: str | None = None,
    staging: bool = True,
) -> Packer:
    settings = PackingSettings(
        framing=framing,
        max_records=1 if framing == "none" else max_records,
        max_bytes=max_bytes,
        linger=linger,
    )
    return Packer(settings, Codec(settings, content_type=content_type), staging=staging)


def pack(made: Packer, sizes: Sequence[int]) -> list[Parcel | Refused]:
    packed = made.add(records(sizes), 0.0)
    packed.extend(made.flush())
    return packed


def due(made: Packer) -> float | None:
    return made.deadline


def keys(packed: Sequence[Parcel | Refused]) -> list[list[object]]:
    return [
        [record.key for record in one.records] if isinstance(one, Parcel) else [one.record.key]
        for one in packed
    ]


def test_framing_none_sends_each_record_as_it_is() -> None:
    one, two = packer("none").add(records([3, 4]), 0.0)
    assert isinstance(one, Parcel)
    assert (one.payload, one.content_type, one.route) == (b"777", "application/json", "inline")
    assert isinstance(two, Parcel)
    assert [record.key for record in two.records] == [1]


@several
def test_a_parcel_of_max_records_goes_at_once(framing: Framing) -> None:
    made = packer(framing, max_records=2)
    assert keys(made.add(records([1, 1, 1]), 5.0)) == [[0, 1]]
    assert due(made) == 6.0
    assert keys(made.flush()) == [[2]]
    assert due(made) is None
    assert made.flush() == []


def test_the_deadline_is_that_of_the_first_record() -> None:
    made = packer("lines", max_bytes=5, linger=0.5)
    assert due(made) is None
    assert made.add(records([1]), 10.0) == []
    assert made.add(records([1]), 10.4) == []
    assert due(made) == 10.5
    assert keys(made.add(records([3]), 10.45)) == [[0, 0]]
    assert due(made) == 10.95


@several
@pytest.mark.parametrize("sizes", [[4], [1, 2]])
def test_a_parcel_without_room_for_another_byte_goes_at_once(
    framing: Framing, sizes: list[int]
) -> None:
    full = frame_of(packing(framing)).size(sum(sizes), len(sizes))
    made = packer(framing, max_bytes=full + 1)
    assert len(made.add(records(sizes), 0.0)) == 1
    assert due(made) is None
    made = packer(framing, max_bytes=full + 2)
    assert made.add(records(sizes), 0.0) == []
    assert due(made) is not None


def test_a_configured_content_type_wins() -> None:
    (parcel,) = packer("none", content_type="text/plain").add(records([1]), 0.0)
    assert isinstance(parcel, Parcel)
    assert parcel.content_type == "text/plain"


@framings
@pytest.mark.parametrize(
    ("size", "route"), [(127_999, "inline"), (128_000, "inline"), (128_001, "s3")]
)
def test_one_record_is_staged_where_it_does_not_fit_inline(
    framing: Framing, size: int, route: str
) -> None:
    made = packer(framing)
    raw = size - frame_of(packing(framing)).size(0, 1)
    (parcel,) = pack(made, [raw])
    assert isinstance(parcel, Parcel)
    assert (len(parcel.payload), parcel.route) == (size, route)


@several
@pytest.mark.parametrize(("size", "count"), [(127_999, 1), (128_000, 1), (128_001, 2)])
def test_two_records_share_a_parcel_up_to_the_last_byte(
    framing: Framing, size: int, count: int
) -> None:
    made = packer(framing)
    raw = size - frame_of(packing(framing)).size(0, 2)
    parcels = pack(made, [raw - 1000, 1000])
    assert len(parcels) == count
    assert all(isinstance(one, Parcel) and one.route == "inline" for one in parcels)
    assert all(isinstance(one, Parcel) and len(one.payload) <= 128_000 for one in parcels)


def test_a_record_above_max_bytes_travels_alone_and_inline() -> None:
    made = packer("lines", max_bytes=10)
    packed = pack(made, [4, 11, 4])
    assert keys(packed) == [[0], [1], [2]]
    assert all(isinstance(one, Parcel) and one.route == "inline" for one in packed)


@framings
def test_without_staging_a_large_record_is_refused(framing: Framing) -> None:
    made = packer(framing, staging=False)
    packed = pack(made, [5, 128_001, 5])
    assert keys(packed) == [[0], [1], [2]]
    refused = packed[1]
    assert isinstance(refused, Refused)
    assert refused.reason == "no_staging"
    assert "staging.bucket" in refused.message


def test_more_than_the_service_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STAGED_BODY_BYTES", 200_000)
    fits, refused = packer("none").add(records([200_000, 200_001]), 0.0)
    assert isinstance(fits, Parcel)
    assert fits.route == "s3"
    assert isinstance(refused, Refused)
    assert refused.reason == "too_large"
    assert "200001 bytes" in refused.message


@given(
    framing=st.sampled_from(FRAMINGS),
    sizes=st.lists(st.integers(1, 40), max_size=60),
    max_records=st.integers(1, 8),
    max_bytes=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_packing_keeps_its_laws(
    framing: Framing, sizes: list[int], max_records: int, max_bytes: int, cuts: list[int]
) -> None:
    made = packer(framing, max_records=max_records, max_bytes=max_bytes)
    most = 1 if framing == "none" else max_records
    given_records = records(sizes)
    parcels: list[Parcel] = []
    edges = sorted({0, len(sizes), *(cut for cut in cuts if cut < len(sizes))})
    for start, end in pairwise(edges):
        for one in made.add(given_records[start:end], 0.0):
            assert isinstance(one, Parcel)
            parcels.append(one)
        assert (due(made) is None) == (sum(len(p.records) for p in parcels) == end)
    parcels += made.flush()
    assert [record for parcel in parcels for record in parcel.records] == given_records
    shape = frame_of(packing(framing))
    for parcel in parcels:
        raws = [record.raw for record in parcel.records]
        assert 1 <= len(raws) <= most
        assert len(parcel.payload) <= max_bytes or len(raws) == 1
        assert parcel.payload == shape.join(raws)
    for parcel, following in pairwise(parcels):
        raws = [record.raw for record in [*parcel.records, following.records[0]]]
        assert len(raws) > most or len(shape.join(raws)) > max_bytes
