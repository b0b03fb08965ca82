"""Compressed parcels are full and never over; and the laws that all parcels keep."""

import base64
import json
import random
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import limits
from dispatcher.config.packing import Encoding, Framing
from dispatcher.packing.codec import Codec
from dispatcher.packing.compressed_batch import CompressedBatch
from dispatcher.packing.compression import Compression
from dispatcher.packing.framing import Frame
from dispatcher.packing.packer import RefusedRecord
from dispatcher.packing.parcel import Parcel
from tests.packing.parcels import (
    ALONE,
    COMPRESSED,
    FRAMED,
    keys,
    pack,
    packer_of,
    parcels_of,
    records,
    settings,
    spools_its_records,
    text,
)

in_each_compressed = pytest.mark.parametrize(("framing", "encoding"), COMPRESSED)


def letters(rng: random.Random, count: int) -> list[bytes]:
    """Return records of a kind, of words and numbers."""
    words = [rng.randbytes(rng.randint(1, 5)).hex() for _ in range(2_000)]
    return [
        orjson.dumps({"id": n, "text": " ".join(rng.choices(words, k=rng.randint(3, 60)))})
        for n in range(count)
    ]


def mixture(rng: random.Random, count: int) -> list[bytes]:
    """Return records that compress well, badly and not at all, in stretches."""
    words = [rng.randbytes(3).hex() for _ in range(500)]
    raws: list[bytes] = []
    while len(raws) < count:
        kind = rng.randrange(4)
        for _ in range(rng.randint(1, 300)):
            size = round(10 ** rng.uniform(1, 4.5 if rng.random() < 0.05 else 3))
            value: object = "z" * size
            if kind == 1:
                value = base64.b64encode(rng.randbytes(size)).decode()
            elif kind == 2:
                value = " ".join(rng.choices(words, k=size // 6 + 1))
            elif kind == 3:
                value = [rng.gauss(0, 1) for _ in range(size // 20)]
            raws.append(orjson.dumps(value))
    return raws[:count]


@in_each_compressed
def test_records_of_a_kind_fill_compressed_parcels(framing: Framing, encoding: Encoding) -> None:
    made = packer_of(settings(framing, encoding, max_bytes=40_000))
    *packed, _ = parcels_of(pack(made, records(letters(random.Random(5), 5_000))))
    assert len(packed) >= 10
    filled = [len(one.payload) / 40_000 for one in packed]
    assert max(filled) <= 1
    assert min(filled) > 0.95
    assert sum(filled) / len(filled) > 0.98


@in_each_compressed
@pytest.mark.parametrize("seed", range(3))
def test_compressed_parcels_are_never_over_and_the_same_when_encoded_again(
    framing: Framing, encoding: Encoding, seed: int
) -> None:
    """The records change in kind, so that the prediction is often wrong."""
    made_with = settings(framing, encoding, max_bytes=10_000)
    codec = Codec(made_with, content_type=None)
    raws = mixture(random.Random(seed), 1_200)
    packed = parcels_of(pack(packer_of(made_with), records(raws)))
    assert [record.raw for one in packed for record in one.records] == raws
    for one in packed:
        assert len(one.payload) <= (10_000 if len(one.records) > 1 else limits.INLINE_BODY_BYTES)
        assert one.payload == codec.payload([record.raw for record in one.records], encoding)
        assert spools_its_records(one)


@in_each_compressed
def test_whatever_waits_goes_when_its_time_has_come(framing: Framing, encoding: Encoding) -> None:
    made = packer_of(settings(framing, encoding, max_bytes=1_000))
    hard = [text(100, seed) for seed in range(20)]
    for count in range(1, 21):
        packed = parcels_of([*made.add(records(hard[:count]), 1.0), *made.flush()])
        assert [record.raw for one in packed for record in one.records] == hard[:count]
        assert all(len(one.payload) <= 1_000 for one in packed)
        assert made.deadline is None


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_wrong_prediction_costs_one_more_attempt(compression: Compression) -> None:
    """Empty pages, and then noise: it is compressed once more with a part of the noise."""
    filling = CompressedBatch(Frame(between=b"\n"), compression, 20_000)
    pages = [b'"%b"' % (b" " * 1_000)] * 18
    noise = [text(1_000, seed) for seed in range(60)]
    for item in pages:
        filling.add(item)
    assert filling.is_due(noise[0])
    assert filling.compress() == 0
    for item in noise:
        assert not filling.is_due(item)
        filling.add(item)
    left = filling.compress()
    assert 0 < left < 60
    payload = filling.payload()
    assert 0.8 * 20_000 < len(payload) <= 20_000
    again = CompressedBatch(Frame(between=b"\n"), compression, 20_000)
    again.add_all([*pages, *noise[: 60 - left]])
    assert again.payload() == payload


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_record_too_many_is_taken_back(compression: Compression) -> None:
    filling = CompressedBatch(Frame(between=b"\n"), compression, 2_000)
    filling.add(text(1_500))
    assert filling.is_due(text(1_400, 2))
    assert filling.compress() == 0
    payload = filling.payload()
    filling.add(text(1_400, 2))
    assert filling.compress() == 1
    assert filling.payload() == payload


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_first_record_that_is_too_large_is_left_out(compression: Compression) -> None:
    for more in (0, 5):
        filling = CompressedBatch(Frame(between=b"\n"), compression, 2_000)
        filling.add(text(5_000))
        for _ in range(more):
            filling.add(b"1")
        assert filling.compress() == 1 + more


@in_each_compressed
@pytest.mark.parametrize("max_records", [78, 100])
def test_too_many_for_a_payload_go_with_the_next(
    framing: Framing, encoding: Encoding, max_records: int
) -> None:
    """Empty pages, and then more noise than fits: known only when the parcel is to go."""
    made_with = settings(framing, encoding, max_bytes=20_000, max_records=max_records)
    pages = [b'"%b"' % (b" " * 1_000)] * 18
    noise = [text(1_000, seed) for seed in range(60)]
    made = packer_of(made_with)
    packed = parcels_of([*made.add(records([*pages, *noise]), 0.0), *made.flush()])
    assert [record.raw for one in packed for record in one.records] == [*pages, *noise]
    assert [len(one.payload) <= 20_000 for one in packed] == [True] * len(packed)
    assert len(packed) <= 4


@in_each_compressed
def test_a_tiny_record_says_nothing_of_the_next(framing: Framing, encoding: Encoding) -> None:
    """Alone it becomes many times larger, because of what a piece costs."""
    made = packer_of(settings(framing, encoding, max_bytes=10_000))
    assert keys(pack(made, records([b"1", text(9_500)]))) == [[0, 1]]


# Laws

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=12),
        st.integers(0, 400).map(lambda size: "z" * size),
        st.integers(1, 200).map(lambda size: text(size + 2)[1:-1].decode()),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)

LADDERS: dict[str, list[Encoding]] = {
    "json": ["json", "json+zstd", "json+gzip"],
    "msgpack": ["msgpack", "msgpack+gzip", "msgpack+zstd"],
}


@given(
    way=st.sampled_from([*FRAMED, *ALONE]),
    has_more=st.booleans(),
    values=st.lists(VALUES, max_size=40),
    max_records=st.integers(1, 12),
    max_bytes=st.integers(1, 900),
    by_id=st.booleans(),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_packing_keeps_its_laws(
    *,
    way: tuple[Framing, Encoding],
    has_more: bool,
    values: list[object],
    max_records: int,
    max_bytes: int,
    by_id: bool,
    cuts: list[int],
) -> None:
    framing, encoding = way
    form = encoding.partition("+")[0]
    others = [other for other in LADDERS[form] if has_more and other != encoding]
    most = 1 if framing == "none" else max_records
    by = {"answer": {"id": "id"}} if by_id else {}
    made_with = settings(framing, encoding, *others, max_records=most, max_bytes=max_bytes, **by)
    # With integers of any length, which orjson cannot write.
    raws = [json.dumps(value).encode() for value in values]
    some = records(raws, keys=[n % 5 for n in range(len(values))])
    made = packer_of(made_with)
    packed: list[Parcel | RefusedRecord] = []
    for start, end in pairwise(
        sorted({0, len(some), *(cut_records for cut_records in cuts if cut_records < len(some))})
    ):
        packed += made.add(some[start:end], float(start))
        assert (made.deadline is None) == (sum(map(len, keys(packed))) == end)
    packed += made.flush()
    assert packed == pack(packer_of(made_with), some), "it depends on how they were handed over"

    assert [key for one in keys(packed) for key in one] == [record.key for record in some]
    codec = Codec(made_with, content_type=None)
    for one in packed:
        if isinstance(one, RefusedRecord):
            assert (one.reason, form) == ("not_encodable", "msgpack")
            continue
        several = len(one.records) > 1
        assert 1 <= len(one.records) <= most
        assert len(one.payload) <= (max_bytes if several else limits.INLINE_BODY_BYTES)
        assert one.payload == codec.payload([record.raw for record in one.records], one.encoding)
        assert one.content_type == codec.content_type(one.encoding)
        assert (one.encoding, one.route) == (encoding, "inline")
        assert spools_its_records(one)
        assert not by_id or len({record.key for record in one.records}) == len(one.records)
    if "+" in encoding:
        return
    for one, following in pairwise(packed):
        if isinstance(one, RefusedRecord) or isinstance(following, RefusedRecord):
            continue
        together = [*one.records, following.records[0]]
        assert (
            len(together) > most
            or (by_id and len({record.key for record in together}) < len(together))
            or len(codec.payload([record.raw for record in together], encoding)) > max_bytes
        ), "the next record would have fitted"


@given(
    way=st.sampled_from(FRAMED),
    sizes=st.lists(st.integers(2, 300_000) | st.integers(2, 3_000), max_size=8),
    staging=st.booleans(),
)
def test_nothing_inline_is_ever_over_the_limit(
    way: tuple[Framing, Encoding],
    sizes: list[int],
    staging: bool,
) -> None:
    framing, encoding = way
    made_with = settings(framing, *LADDERS[encoding.partition("+")[0]])
    some = records(text(size, seed) for seed, size in enumerate(sizes))
    packed = pack(packer_of(made_with, staging=staging), some)
    assert [key for one in keys(packed) for key in one] == [record.key for record in some]
    for one in packed:
        if isinstance(one, RefusedRecord):
            assert not staging
            assert one.reason == "no_staging"
        elif one.route == "inline":
            assert len(one.payload) <= limits.INLINE_BODY_BYTES
        else:
            assert len(one.payload) > limits.INLINE_BODY_BYTES
            assert (len(one.records), one.encoding) == (1, encoding.partition("+")[0])
