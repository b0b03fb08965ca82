"""Records as they are sent, in every encoding."""

import base64
import gzip
import io
import json
import math
from typing import Any, get_args

import msgpack
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.packing import Encoding, Framing
from dispatcher.packing.codec import Codec, compression_of, format_of
from dispatcher.packing.values import Format, NotEncodableError
from tests.payloads import codec, packing

RECORD = b'{"id": 7, "x": [0.10, 12345678901234567890123], "image": {"base64": "iVBO"}}'
SMALL = b'{"id": 7, "x": [0.10, null]}'


def made(raw: bytes, encoding: Encoding, **settings: Any) -> bytes:
    return codec(encodings=[encoding], **settings).payload([raw], encoding)


def opened(payload: bytes, encoding: Encoding) -> bytes:
    """Decompress as a container would."""
    match compression_of(encoding):
        case "gzip":
            return gzip.decompress(payload)
        case "zstd":
            return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(payload)).read()
        case None:
            return payload


@pytest.mark.parametrize("encoding", ["json", "json+gzip", "json+zstd"])
def test_json_goes_out_as_it_was_read(encoding: Encoding) -> None:
    assert opened(made(RECORD, encoding), encoding) == RECORD
    assert codec().splices(encoding)


@pytest.mark.parametrize("encoding", ["msgpack", "msgpack+gzip", "msgpack+zstd"])
def test_msgpack_has_the_same_value(encoding: Encoding) -> None:
    assert msgpack.unpackb(opened(made(SMALL, encoding), encoding)) == orjson.loads(SMALL)
    assert not codec(encodings=[encoding]).splices(encoding)
    with pytest.raises(NotEncodableError, match="out of range"):
        made(RECORD, encoding)


def test_raw_of_json_is_what_base64_stands_for() -> None:
    assert made(RECORD, "raw", select="image") == b"\x89PN"
    assert made(b'{"base64":"iVBO","content_type":"image/png"}', "raw") == b"\x89PN"
    with pytest.raises(NotEncodableError, match="bytes only"):
        made(RECORD, "raw")


@pytest.mark.parametrize("encoding", ["json", "json+zstd", "msgpack"])
def test_select_reshapes_what_is_sent(encoding: Encoding) -> None:
    settings: dict[str, Any] = {"select": "{n: x[1], all: x}"}
    payload = opened(made(SMALL, encoding, **settings), encoding)
    value = orjson.loads(payload) if format_of(encoding) == "json" else msgpack.unpackb(payload)
    assert value == {"n": None, "all": [0.1, None]}
    assert not codec(encodings=[encoding], **settings).splices(encoding)


def test_select_keeps_digits() -> None:
    assert made(RECORD, "json", select="x") == b"[0.1,12345678901234567890123]"


@pytest.mark.parametrize(
    ("select", "why"), [("length(id)", "packing.select 'length"), ("to_number('nan')", "JSON")]
)
def test_a_select_that_fails_refuses_its_record(select: str, why: str) -> None:
    with pytest.raises(NotEncodableError, match=why):
        made(SMALL, "json", select=select)


def files(encoding: Encoding, framing: Framing = "none", **settings: Any) -> Codec:
    settings = {"encodings": [encoding], **settings}
    return Codec(packing(framing, **settings), content_type=None, json_source=False)


@given(content=st.binary(min_size=1))
def test_a_file_goes_out_raw_as_it_is(content: bytes) -> None:
    assert files("raw").payload([content], "raw") == content
    assert files("raw").splices("raw")


def test_a_file_goes_out_as_json_where_it_is_json() -> None:
    text = b'\n{"a":\r\n 12345678901234567890123}\n'
    assert files("json").payload([text], "json") == b'{"a":   12345678901234567890123}'
    assert files("json", "lines").payload([text, b"1"], "json").count(b"\n") == 1
    assert files("msgpack").payload([b"[1]\n"], "msgpack") == msgpack.packb([1])
    assert files("json", select="a").payload([text], "json") == b"12345678901234567890123"
    assert files("raw", select="a").payload([b'{"a":{"base64":"YQ=="}}'], "raw") == b"a"
    assert not files("json").splices("json")


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_a_file_that_is_no_json_is_refused_as_such(form: Format) -> None:
    for content in (b"\x89PNG", b"", b"\xef\xbb\xbf1"):
        with pytest.raises(NotEncodableError, match="cannot be read as JSON"):
            files(form).item(content, form)


def test_nothing_is_no_request() -> None:
    for nothing in (codec(encodings=["raw"]), files("raw")):
        with pytest.raises(NotEncodableError, match="at least one byte"):
            nothing.item(b"" if nothing.splices("raw") else b'{"base64":""}', "raw")


TYPES = {
    ("json", "none"): "application/json",
    ("json", "lines"): "application/jsonlines",
    ("json", "json-array"): "application/json",
    ("json", "template"): "application/json",
    ("msgpack", "none"): "application/msgpack",
    ("msgpack", "msgpack-array"): "application/msgpack",
    ("raw", "none"): "application/octet-stream",
}


@pytest.mark.parametrize("framing", get_args(Framing))
@pytest.mark.parametrize("encoding", get_args(Encoding))
def test_content_types(encoding: Encoding, framing: Framing) -> None:
    form, compression = format_of(encoding), compression_of(encoding)
    usual = TYPES.get((form, framing))
    if usual is None:
        return
    template = '{"a":[...]}' if framing == "template" else None
    settings = {"encodings": [encoding], "template": template}
    after = f"; encoding={compression}" if compression else ""
    assert codec(framing, **settings).content_type(encoding) == usual + after
    named = Codec(packing(framing, **settings), content_type="application/x")
    assert named.content_type(encoding) == "application/x" + after
    own = Codec(
        packing(framing, **settings, content_types={encoding: "a/b"}), content_type="application/x"
    )
    assert own.content_type(encoding) == "a/b"


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8"), max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3),
    ),
    max_leaves=8,
)
WAYS = [
    (encoding, framing)
    for encoding in get_args(Encoding)
    for framing in get_args(Framing)
    if framing != "none" and (format_of(encoding), framing) in TYPES
]


@given(
    records=st.lists(values, min_size=1, max_size=20),
    way=st.sampled_from(WAYS),
    select=st.sampled_from([None, "@"]),
)
def test_a_container_reads_the_records_that_were_packed(
    records: list[Any], way: tuple[Encoding, Framing], select: str | None
) -> None:
    encoding, framing = way
    template = '{"a": 1, "instances": [...]}' if framing == "template" else None
    codec_ = codec(framing, encodings=[encoding], template=template, select=select)
    raws = [json.dumps(record).encode() for record in records]
    payload = opened(codec_.payload(raws, encoding), encoding)
    match framing:
        case "lines":
            read = [orjson.loads(line) for line in payload.split(b"\n")]
        case "template":
            read = orjson.loads(payload)["instances"]
        case "msgpack-array":
            read = msgpack.unpackb(payload)
        case _:
            read = orjson.loads(payload)
    assert read == records


@given(count=st.sampled_from([1, 15, 16, 65_535, 65_536]))
def test_msgpack_arrays_of_any_length(count: int) -> None:
    items = [b"\x01"] * count
    frame = codec("msgpack-array", encodings=["msgpack"]).frame
    assert len(frame.join(items)) == frame.size(count, count)
    assert msgpack.unpackb(frame.join(items)) == [1] * count


def test_base64_of_bytes_is_raw_again() -> None:
    image = bytes(range(256))
    raw = orjson.dumps({"base64": base64.b64encode(image).decode()})
    assert made(raw, "raw") == image
    assert math.isclose(len(raw) / len(image), 4 / 3, rel_tol=0.1)
