"""Records are joined and cut apart without a byte lost."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.packing.framing import frame
from dispatcher.packing.parcel import Framing

several = pytest.mark.parametrize("framing", ["lines", "json-array"])
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
    assert frame(framing).content_type == content_type


@pytest.mark.parametrize(
    ("framing", "payload"), [("none", b"5"), ("lines", b"5"), ("json-array", b"[5]")]
)
def test_one_record_is_framed_as_several_are(framing: Framing, payload: bytes) -> None:
    assert frame(framing).join([b"5"]) == payload
    assert frame("none").content_type == "application/json"


@several
@given(raws=raws)
def test_size_is_exact_and_cut_gives_the_records_back(framing: Framing, raws: list[bytes]) -> None:
    made = frame(framing)
    payload = made.join(raws)
    sizes = [len(raw) for raw in raws]
    assert made.size(sum(sizes), len(sizes)) == len(payload)
    assert made.cut(payload, sizes) == raws


@given(raws=raws)
def test_payloads_are_what_their_content_type_says(raws: list[bytes]) -> None:
    values = [orjson.loads(raw) for raw in raws]
    assert orjson.loads(frame("json-array").join(raws)) == values
    assert [orjson.loads(line) for line in frame("lines").join(raws).split(b"\n")] == values


@several
@pytest.mark.parametrize("sizes", [[1], [1, 1, 1], [1, 2]])
def test_sizes_of_another_payload_are_refused(framing: Framing, sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="does not hold"):
        frame(framing).cut(frame(framing).join([b"1", b"2"]), sizes)
