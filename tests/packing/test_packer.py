"""What bounds a parcel, to the byte; which encoding and route a record takes; in which company."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgpack
import orjson
import pytest
import zstandard

from dispatcher import limits
from dispatcher.config.packing import Encoding, Framing
from dispatcher.flow.content import FileSlice
from dispatcher.packing import routing as ladder
from dispatcher.packing.batch_size import BatchSize
from dispatcher.packing.codec import Codec
from dispatcher.packing.framing import frame_of
from dispatcher.packing.packer import MAX_RAW_BYTES, Packer, RefusedRecord
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import LargeRecord, Position
from tests.packing.parcels import (
    ALONE,
    FRAMED,
    PLAIN,
    is_kept,
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


# The ladder


def test_the_first_encoding_that_fits_inline_wins() -> None:
    made_with = settings("none", "json", "msgpack", "json+gzip")
    small = text(127_999)
    longer = orjson.dumps(["a"] * 40_000)  # 4 bytes each in JSON, 2 in MessagePack
    shorter = orjson.dumps([1.5] * 32_100)  # 4 bytes each in JSON, 9 in MessagePack
    hard = text(150_000)
    never = text(300_000)
    packed = parcels_of(pack(packer_of(made_with), records([small, longer, shorter, hard, never])))
    assert [(one.encoding, one.route) for one in packed] == [
        ("json", "inline"),
        ("msgpack", "inline"),
        ("json+gzip", "inline"),
        ("json+gzip", "inline"),
        ("json", "s3"),
    ]
    assert packed[4].payload == never
    assert all(is_kept(one) for one in packed)


def test_a_record_that_cannot_fit_is_not_compressed_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_with = settings("lines", "json", "json+gzip", "json+zstd")
    noise, blank = text(2_000_000), b'"%b"' % (b" " * 2_000_000)
    made = Codec.finish
    tried = []

    def finish(codec: Codec, items: Sequence[bytes], encoding: Encoding) -> bytes:
        tried.append(encoding)
        return made(codec, items, encoding)

    monkeypatch.setattr(Codec, "finish", finish)
    packed = parcels_of(pack(packer_of(made_with), records([noise, blank])))
    assert [(one.encoding, one.route) for one in packed] == [
        ("json", "s3"),
        ("json+gzip", "inline"),
    ]
    assert tried == ["json", "json", "json+gzip"]


@pytest.mark.parametrize("encoding", ["json+gzip", "json+zstd"])
def test_a_record_that_is_compressed_first_is_compressed_once(
    encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_with = settings("lines", encoding, "json")
    noise = text(200_000)
    made = Codec(made_with, content_type=None).payload([noise], encoding)
    monkeypatch.setattr(Codec, "finish", lambda *_: b"x" * 200_000)
    (parcel,) = parcels_of(pack(packer_of(made_with), records([noise])))
    assert (parcel.payload, parcel.encoding, parcel.route) == (made, encoding, "s3")


def test_packed_parcels_are_in_the_first_encoding() -> None:
    made = packer_of(settings("lines", "json", "json+zstd"))
    large = b'"%b"' % (b"x" * 200_000)
    packed = parcels_of(pack(made, records([b"1", large, b"2", b"3"])))
    assert keys(packed) == [[0], [1], [2, 3]]
    assert [one.encoding for one in packed] == ["json", "json+zstd", "json"]


def test_what_the_first_encoding_cannot_carry_takes_the_next() -> None:
    """JSON carries an integer beyond 64 bits, MessagePack does not."""
    made_with = settings("none", "msgpack", "json")
    packed = parcels_of(pack(packer_of(made_with), records([b"1", b"1" * 40, b"2"])))
    assert [one.encoding for one in packed] == ["msgpack", "json", "msgpack"]
    assert packed[1].payload == b"1" * 40


def test_a_record_too_large_for_the_first_compression_takes_the_next() -> None:
    """What repeats after 120 kB is seen by zstd, and not by gzip."""
    record = b'"%b%b"' % (text(120_000)[1:-1], text(120_000)[1:-1])
    made_with = settings("lines", "json+gzip", "json+zstd", "json")
    (parcel,) = parcels_of(pack(packer_of(made_with), records([record])))
    assert (parcel.encoding, parcel.route) == ("json+zstd", "inline")
    assert zstandard.ZstdDecompressor().decompress(parcel.payload) == record


def test_a_refusal_gives_the_reason_of_the_first_encoding() -> None:
    made = packer_of(settings("none", "msgpack", "raw"))
    (refused,) = pack(made, records([b"1" * 40]))
    assert isinstance(refused, RefusedRecord)
    assert (refused.reason, "MessagePack" in refused.message) == ("not_encodable", True)


@pytest.mark.parametrize("encodings", [["msgpack", "msgpack+zstd"], ["msgpack+zstd", "msgpack"]])
def test_what_no_encoding_can_carry_is_refused(encodings: list[Encoding]) -> None:
    made = packer_of(settings("msgpack-array", *encodings))
    packed = pack(made, records([b"1", b"1" * 40, b"2", b"3"]))
    assert keys(packed) == [[0], [1], [2, 3]]
    refused = packed[1]
    assert isinstance(refused, RefusedRecord)
    assert refused.reason == "not_encodable"
    assert "MessagePack" in refused.message


@pytest.mark.parametrize("encoding", ["json", "json+gzip"])
def test_without_staging_a_large_record_is_refused(encoding: Encoding) -> None:
    made = packer_of(settings("lines", encoding), staging=False)
    packed = pack(made, records([b"12345", text(200_000), b"12345"]))
    assert keys(packed) == [[0], [1], [2]]
    refused = packed[1]
    assert isinstance(refused, RefusedRecord)
    assert refused.reason == "no_staging"
    assert "staging.bucket" in refused.message


def test_more_than_the_service_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STAGED_BODY_BYTES", 200_000)
    made = packer_of(settings("none", "json"))
    fits, refused = made.add(records([text(200_000), text(200_001)]), 0.0)
    assert isinstance(fits, Parcel)
    assert fits.route == "s3"
    assert isinstance(refused, RefusedRecord)
    assert refused.reason == "too_large"
    assert "200001 bytes" in refused.message
    made = packer_of(settings("none", "json", "json+zstd"))
    (compressed,) = parcels_of(made.add(records([text(200_001)]), 0.0))
    assert (compressed.encoding, compressed.route) == ("json+zstd", "s3")


# Records that are not held in memory

Making = Callable[[bytes], LargeRecord]


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Making]:
    opened: list[FileSlice] = []

    def make(content: bytes) -> LargeRecord:
        path = tmp_path / f"large-{len(opened)}"
        path.write_bytes(content)
        file = os.open(path, os.O_RDONLY)
        opened.append(FileSlice(file, 0, len(content)))
        return LargeRecord(Position("f", 0, 1, 1), "large", opened[-1])

    yield make
    for blob in opened:
        blob.close()


@pytest.mark.parametrize("encodings", [["json", "json+zstd"], ["json+zstd", "json"]])
def test_a_large_record_goes_to_s3_unread(
    large: Making, encodings: list[Encoding], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = large(b"[1]")
    made = packer_of(settings("lines", *encodings))
    small = records([b"1", b"2"])
    with monkeypatch.context() as patch:
        patch.setattr(FileSlice, "chunks", None)
        packed = parcels_of(pack(made, [small[0], record, small[1]]))
    assert keys(packed) == [[0], ["large"], [1]]
    assert (packed[1].route, packed[1].payload) == ("s3", b"")
    assert packed[1].encoding == encodings[0]
    assert packed[1].spooled is record.content


def test_a_large_record_takes_the_first_encoding_that_can_carry_it(large: Making) -> None:
    made_with = settings("none", "msgpack", "json")
    for content, encoding in ((b"[1]", "msgpack"), (b"1" * 40, "json")):
        (parcel,) = parcels_of(pack(packer_of(made_with), [large(content)]))
        assert (parcel.encoding, parcel.route, parcel.payload) == (encoding, "s3", b"")
    (refused,) = pack(packer_of(settings("msgpack-array", "msgpack")), [large(b"1" * 40)])
    assert isinstance(refused, RefusedRecord)
    assert refused.reason == "not_encodable"


def test_a_large_record_is_parsed_once_for_all_encodings(
    large: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, parsed = Codec.value, []

    def value(codec: Codec, raw: bytes) -> object:
        parsed.append(raw)
        return made(codec, raw)

    monkeypatch.setattr(Codec, "value", value)
    encodings: list[Encoding] = ["msgpack", "msgpack+zstd", "raw", "json"]
    for staged, content in ((True, b'{"v":%b}' % (b"1" * 40)), (False, b'{"w":1}')):
        selecting = packer_of(settings("none", *encodings, select="v || to_number(w)"))
        (packed,) = pack(selecting, [large(content)])
        assert isinstance(packed, Parcel)
        assert packed.encoding == ("json" if staged else "msgpack")
        assert parsed == [content]
        parsed.clear()
    (refused,) = pack(packer_of(settings("none", *encodings, select="abs(v)")), [large(b"{}")])
    assert isinstance(refused, RefusedRecord)
    assert refused.reason == "not_encodable"
    assert parsed == [b"{}"]


@pytest.mark.parametrize("encoding", ["json+gzip", "json+zstd", "msgpack+zstd"])
@pytest.mark.parametrize("framing", ["none", "json-array"])
def test_a_large_payload_is_compressed_where_it_is_sent(
    framing: Framing, encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is packed around it is the same as if it had been compressed here."""
    noise, blank = text(2_000_000), b'"%b"' % (b" " * 2_000_000)
    raws = [b"1", b"2", noise, b"3", blank, b"4"]
    if encoding == "msgpack+zstd" and framing != "none":
        framing = "msgpack-array"
    made_with = settings(framing, encoding)
    packed = parcels_of(pack(packer_of(made_with), records(raws)))
    staged = [one for one in packed if one.route == "s3"]
    assert [(one.spooled, one.payload, one.encoding) for one in staged] == [(noise, b"", encoding)]
    monkeypatch.setattr(ladder, "_LARGE_BYTES", 10_000_000)
    whole = parcels_of(pack(packer_of(made_with), records(raws)))
    assert keys(packed) == keys(whole)
    assert [one.route for one in packed] == [one.route for one in whole]
    assert [p.payload for p in packed if p.payload] == [
        w.payload for p, w in zip(packed, whole, strict=True) if p.payload
    ]


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


def test_a_large_record_needs_staging(large: Making) -> None:
    (refused,) = pack(packer_of(settings("none", "json"), staging=False), [large(b"[1]")])
    assert isinstance(refused, RefusedRecord)
    assert refused.reason == "no_staging"


def test_a_large_record_may_be_too_large(large: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STAGED_BODY_BYTES", 10)
    record = large(b"1" * 11)
    (refused,) = pack(packer_of(settings("none", "json")), [record])
    assert isinstance(refused, RefusedRecord)
    assert refused.reason == "too_large"
    # What it is when compressed is not known before it is sent.
    (parcel,) = parcels_of(pack(packer_of(settings("none", "json", "json+gzip")), [record]))
    assert parcel.encoding == "json+gzip"


# Company


@in_each_framed
def test_answers_told_apart_by_id_need_different_keys(framing: Framing, encoding: Encoding) -> None:
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
