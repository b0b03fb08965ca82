"""Routing of one record: the first encoding that fits inline, else S3, else a refusal."""

from collections.abc import Sequence

import orjson
import pytest
import zstandard

from dispatcher import limits
from dispatcher.config.packing import Encoding, Framing
from dispatcher.flow.content import FileSlice
from dispatcher.packing import routing
from dispatcher.packing.codec import Codec
from dispatcher.packing.packer import RefusedRecord
from dispatcher.packing.parcel import Parcel
from tests.packing.conftest import Making
from tests.packing.parcels import (
    keys,
    pack,
    packer_of,
    parcels_of,
    records,
    settings,
    spools_its_records,
    text,
)


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
    assert all(spools_its_records(one) for one in packed)


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


def test_what_the_first_encoding_cannot_carry_takes_the_next() -> None:
    """JSON carries an integer beyond 64 bits, MessagePack does not."""
    made_with = settings("none", "msgpack", "json")
    packed = parcels_of(pack(packer_of(made_with), records([b"1", b"1" * 40, b"2"])))
    assert [one.encoding for one in packed] == ["msgpack", "json", "msgpack"]
    assert packed[1].payload == b"1" * 40


def test_a_record_too_large_for_the_first_compression_takes_the_next() -> None:
    """Zstd sees a repetition after 120 kB, and gzip does not."""
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
    """The records around it are packed as if it had been compressed here."""
    noise, blank = text(2_000_000), b'"%b"' % (b" " * 2_000_000)
    raws = [b"1", b"2", noise, b"3", blank, b"4"]
    if encoding == "msgpack+zstd" and framing != "none":
        framing = "msgpack-array"
    made_with = settings(framing, encoding)
    packed = parcels_of(pack(packer_of(made_with), records(raws)))
    staged = [one for one in packed if one.route == "s3"]
    assert [(one.spooled, one.payload, one.encoding) for one in staged] == [(noise, b"", encoding)]
    monkeypatch.setattr(routing, "_LARGE_BYTES", 10_000_000)
    whole = parcels_of(pack(packer_of(made_with), records(raws)))
    assert keys(packed) == keys(whole)
    assert [one.route for one in packed] == [one.route for one in whole]
    assert [p.payload for p in packed if p.payload] == [
        w.payload for p, w in zip(packed, whole, strict=True) if p.payload
    ]


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
