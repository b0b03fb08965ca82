"""Records are joined and cut apart without a byte lost."""

from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.packing import Framing
from dispatcher.packing.framing import Frame, frame_of
from dispatcher.packing.spool_format import cut_records, join_records
from tests.payloads import codec, packing


def frame(framing: Framing) -> Frame:
    given: dict[str, Any] = {}
    if framing == "template":
        given["template"] = TEMPLATE
    if framing == "msgpack-array":
        given["encodings"] = ["msgpack"]
    return frame_of(packing(framing, **given))


TEMPLATE = '{"instances": [...], "of": "[1]"}'
several = pytest.mark.parametrize("framing", ["lines", "json-array", "msgpack-array", "template"])
raws = st.lists(
    st.one_of(
        st.integers(-(2**53), 2**53), st.text(max_size=8), st.lists(st.booleans(), max_size=3)
    ).map(orjson.dumps),
    min_size=1,
    max_size=20,
)


@pytest.mark.parametrize(
    ("framing", "payload", "content_type"),
    [
        ("lines", b'{"a":1}\n2', "application/jsonlines"),
        ("json-array", b'[{"a":1},2]', "application/json"),
    ],
)
def test_several_records_form_one_payload(
    framing: Framing, payload: bytes, content_type: str
) -> None:
    assert frame(framing).join([b'{"a":1}', b"2"]) == payload
    assert codec(framing).content_type("json") == content_type


@pytest.mark.parametrize(
    ("framing", "payload"),
    [
        ("none", b"5"),
        ("lines", b"5"),
        ("json-array", b"[5]"),
        ("msgpack-array", b"\x915"),
        ("template", b'{"instances": [5], "of": "[1]"}'),
    ],
)
def test_one_record_is_framed_as_several_are(framing: Framing, payload: bytes) -> None:
    assert frame(framing).join([b"5"]) == payload
    assert codec("none").content_type("json") == "application/json"


@several
@given(raws=raws)
def test_size_is_exact_and_cut_gives_the_records_back(framing: Framing, raws: list[bytes]) -> None:
    made = frame(framing)
    payload = made.join(raws)
    sizes = [len(raw) for raw in raws]
    assert made.size(sum(sizes), len(sizes)) == len(payload)
    assert cut_records(join_records(raws), sizes) == raws
    if framing in ("lines", "json-array"):
        assert cut_records(payload, sizes) == raws, "as ledgers of schema 2 keep them"


@given(raws=raws)
def test_payloads_are_what_their_content_type_says(raws: list[bytes]) -> None:
    values = [orjson.loads(raw) for raw in raws]
    assert orjson.loads(frame("json-array").join(raws)) == values
    assert [orjson.loads(line) for line in frame("lines").join(raws).split(b"\n")] == values
    template = orjson.loads(frame("template").join(raws))
    assert template == {"instances": values, "of": "[1]"}
    packed = [msgpack.packb(value) for value in values]
    assert msgpack.unpackb(frame("msgpack-array").join(packed)) == values
