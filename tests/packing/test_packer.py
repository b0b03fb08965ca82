"""The bounds of a parcel, to the byte, and the records that may share one."""

from collections.abc import Sequence

import msgpack
import orjson
import pytest

from dispatcher.config.packing import Encoding, Framing
from dispatcher.packing.adaptive_batch_size import BatchSize
from dispatcher.packing.codec import Codec
from dispatcher.packing.framing import frame_of
from dispatcher.packing.packer import MAX_RAW_BYTES, Packer, RefusedRecord
from tests.packing.parcels import (
    ALONE,
    FRAMED,
    PLAIN,
    keys,
    pack,
    packer_of,
    parcels_of,
    records,
    settings,
    text,
)

in_each = pytest.mark.parametrize(("framing", "encoding"), [*FRAMED, *ALONE])
in_each_framed = pytest.mark.parametrize(("framing", "encoding"), FRAMED)
in_each_plain = pytest.mark.parametrize(("framing", "encoding"), PLAIN)


# Bounds


@in_each_framed
def test_a_parcel_of_max_records_goes_at_once(framing: Framing, encoding: Encoding) -> None:
    made = packer_of(settings(framing, encoding, max_records=2))
    assert keys(made.add(records([b"1", b"2", b"3"]), 5.0)) == [[0, 1]]
    assert made.deadline == 6.0
    assert keys(made.flush()) == [[2]]
    assert made.flush() == []


@in_each_framed
def test_the_deadline_is_that_of_the_first_record(framing: Framing, encoding: Encoding) -> None:
    made = packer_of(settings(framing, encoding, linger=0.5))
    assert made.add(records([b"1"]), 10.0) == []
    assert made.add(records([b"1"]), 10.4) == []
    assert made.deadline == 10.5
    (parcel,) = parcels_of(made.flush())
    assert len(parcel.records) == 2
    made = packer_of(settings(framing, encoding, linger=0.5))
    assert made.add(records([b"1"]), 10.6) == []
    assert made.deadline == 11.1


@in_each_plain
@pytest.mark.parametrize("raws", [[b"1"], [b"1", b"2"]])
def test_a_parcel_without_room_for_another_byte_goes_at_once(
    framing: Framing, encoding: Encoding, raws: list[bytes]
) -> None:
    made_with = settings(framing, encoding)
    full = len(Codec(made_with, content_type=None).payload(raws, encoding))
    full += len(frame_of(made_with).between)
    made = packer_of(settings(framing, encoding, max_bytes=full))
    assert len(made.add(records(raws), 0.0)) == 1
    assert made.flush() == []
    made = packer_of(settings(framing, encoding, max_bytes=full + 1))
    assert made.add(records(raws), 0.0) == []
    assert len(made.flush()) == 1


def test_content_types_go_by_encoding() -> None:
    made_with = settings("lines", "json", "json+zstd", content_types={"json+zstd": "text/z"})
    made = Packer(made_with, Codec(made_with, content_type="text/plain"), staging=True)
    small, large = parcels_of(pack(made, records([b"1", b'"%b"' % (b"x" * 200_000)])))
    assert (small.encoding, small.content_type) == ("json", "text/plain")
    assert (large.encoding, large.content_type) == ("json+zstd", "text/z")


@pytest.mark.parametrize("encoding", ["json", "json+zstd"])
def test_a_record_above_max_bytes_travels_alone_and_inline(encoding: Encoding) -> None:
    made = packer_of(settings("lines", encoding, max_bytes=60))
    packed = parcels_of(pack(made, records([b"1234", text(100), b"1234"])))
    assert keys(packed) == [[0], [1], [2]]
    assert {(one.route, one.encoding) for one in packed} == {("inline", encoding)}


@pytest.mark.parametrize("count", [15, 16, 17, 65_535, 65_536, 65_537])
def test_the_header_of_a_messagepack_array_grows(count: int) -> None:
    full = frame_of(settings("msgpack-array", "msgpack")).size(count, count)
    for max_bytes, parcels in ((full, 1), (full - 1, 2)):
        made = packer_of(settings("msgpack-array", "msgpack", max_bytes=max_bytes))
        packed = parcels_of(pack(made, records([b"1"] * count)))
        assert len(packed) == parcels
        assert all(len(one.payload) <= max_bytes for one in packed)
        assert [n for one in packed for n in msgpack.unpackb(one.payload)] == [1] * count


@pytest.mark.parametrize("framing", ["lines", "json-array"])
def test_little_of_much_does_not_pile_up(framing: Framing) -> None:
    """Records that are large as read, and tiny as sent, are held until their parcel is closed."""
    raw = orjson.dumps({"keep": 1, "drop": "x" * 1_000_000})
    for made_with in (settings(framing, "json", select="keep"), settings(framing, "json+zstd")):
        packed = parcels_of(pack(packer_of(made_with), records([raw] * 40)))
        assert [len(one.records) for one in packed] == [15, 15, 10]
        assert all(sum(len(r.raw) for r in one.records) <= MAX_RAW_BYTES for one in packed)


# The limit, to the byte


def exactly(codec: Codec, encoding: Encoding, size: int, before: Sequence[bytes] = ()) -> bytes:
    """Return a record that makes, after others, a payload of exactly this size."""
    for seed in range(50):
        length = size
        for _ in range(12):
            raw = text(max(length, 2), seed)
            missing = size - len(codec.payload([*before, raw], encoding))
            if missing == 0:
                return raw
            length += missing if abs(missing) < 50 else round(missing / 0.8)
    raise AssertionError(f"no record makes {size} bytes of {encoding}")


@in_each
@pytest.mark.parametrize(
    ("size", "route"), [(127_999, "inline"), (128_000, "inline"), (128_001, "s3")]
)
def test_one_record_is_staged_where_it_does_not_fit_inline(
    framing: Framing, encoding: Encoding, size: int, route: str
) -> None:
    made_with = settings(framing, encoding)
    raw = exactly(Codec(made_with, content_type=None), encoding, size)
    (parcel,) = parcels_of(pack(packer_of(made_with), records([raw])))
    assert (len(parcel.payload), parcel.route, parcel.encoding) == (size, route, encoding)
    (unstaged,) = pack(packer_of(made_with, staging=False), records([raw]))
    assert isinstance(unstaged, RefusedRecord) == (route == "s3")


@in_each_framed
@pytest.mark.parametrize(("size", "count"), [(127_999, 1), (128_000, 1), (128_001, 2)])
@pytest.mark.parametrize("before", [[60_000], [1_000] * 100], ids=["two", "many"])
def test_records_share_a_parcel_up_to_the_last_byte(
    framing: Framing, encoding: Encoding, size: int, count: int, before: list[int]
) -> None:
    made_with = settings(framing, encoding)
    raws = [text(length, seed + 100) for seed, length in enumerate(before)]
    raws.append(exactly(Codec(made_with, content_type=None), encoding, size, raws))
    packed = parcels_of(pack(packer_of(made_with), records(raws)))
    assert {one.route for one in packed} == {"inline"}
    whole = list(range(len(raws)))
    if count == 1:
        assert [len(one.payload) for one in packed] == [size]
        assert keys(packed) == [whole]
    else:
        assert keys(packed) == [whole[:-1], whole[-1:]]


def test_packed_parcels_are_in_the_first_encoding() -> None:
    made = packer_of(settings("lines", "json", "json+zstd"))
    large = b'"%b"' % (b"x" * 200_000)
    packed = parcels_of(pack(made, records([b"1", large, b"2", b"3"])))
    assert keys(packed) == [[0], [1], [2, 3]]
    assert [one.encoding for one in packed] == ["json", "json+zstd", "json"]


@pytest.mark.parametrize(
    ("encodings", "size", "is_slow"),
    [
        (["json"], 15_000_000, False),
        (["json", "json+gzip"], 64_000, False),
        (["json", "json+gzip"], 64_001, True),
        (["json+zstd"], 1, True),
        (["msgpack"], 1, True),
    ],
)
def test_what_parses_or_compresses_is_slow(
    encodings: list[Encoding], size: int, is_slow: bool
) -> None:
    made = packer_of(settings("none", *encodings))
    assert made.is_slow(records([b"1", b"1" * size])) is is_slow


# Records that may share a parcel


@in_each_framed
def test_outputs_paired_by_id_need_different_keys(framing: Framing, encoding: Encoding) -> None:
    some = records([b"1"] * 6, keys=["a", 1, "1", "b", "a", "a"])
    made = packer_of(settings(framing, encoding, answer={"id": "id"}))
    assert keys(pack(made, some)) == [["a", 1], ["1", "b", "a"], ["a"]]
    made = packer_of(settings(framing, encoding))
    assert keys(pack(made, some)) == [["a", 1, "1", "b", "a", "a"]]


@in_each_framed
def test_bad_records_make_the_next_parcels_smaller(framing: Framing, encoding: Encoding) -> None:
    batch_size = BatchSize()
    made = packer_of(settings(framing, encoding, max_records=100), batch_size=batch_size)
    assert made.add(records([b"1"] * 10), 0.0) == []
    batch_size.observe(100_000, 10_000)
    packed = made.add(records([b"1"] * 98), 0.0)
    assert [len(one.records) for one in parcels_of(packed)] == [100, 4, 4]
    batch_size.observe(1_000_000, 900_000)
    assert [len(one.records) for one in parcels_of(made.add(records([b"1"] * 2), 0.0))] == [1, 1]
