"""An answer gives every record its own output, or says that it does not."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.packing import Framing
from dispatcher.packing.answers import Mismatch, Outputs, split
from tests.payloads import packing

JSON, LINES = "application/json", "application/jsonlines"


def values_of(body: bytes, kind: str | None, count: int, framing: Framing = "lines") -> list[bytes]:
    outputs = split(body, kind, range(count), packing(framing))
    assert isinstance(outputs, Outputs), outputs
    if outputs.are_json:
        for value in outputs.values:
            orjson.loads(value)
    return outputs.values


def reason_of(body: bytes, kind: str | None, count: int, framing: Framing = "lines") -> str:
    mismatch = split(body, kind, range(count), packing(framing))
    assert isinstance(mismatch, Mismatch), mismatch
    assert mismatch.message
    return mismatch.reason


@pytest.mark.parametrize("body", [b"", b"[1, 2]", b"\xff\x00", b"a\nb\n"])
def test_one_record_without_framing_gets_the_whole_answer(body: bytes) -> None:
    assert split(body, "image/png", [1], packing("none")) == Outputs([body], are_json=False)


@pytest.mark.parametrize(
    "kind",
    [
        JSON,
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/x+json",
        "text/html",
        "application/octet-stream",
        None,
    ],
)
def test_an_array_has_one_element_a_record(kind: str | None) -> None:
    body = b' [ 1.50, {"a": [1,\n2]} , "x,]\\"[" ]\n'
    assert values_of(body, kind, 3) == [b"1.50", b'{"a": [1,\n2]}', b'"x,]\\"["']


@pytest.mark.parametrize(
    "kind", [LINES, "application/x-ndjson", "application/json-lines", JSON, "text/plain", None]
)
def test_lines_have_one_line_a_record(kind: str | None) -> None:
    for body in (b'[1,2]\r\n{"a":0.10}\nnull', b'[1,2]\n{"a":0.10}\nnull\n'):
        assert values_of(body, kind, 3) == [b"[1,2]", b'{"a":0.10}', b"null"]


def test_text_has_one_line_a_record_whatever_it_says() -> None:
    assert values_of(b"setosa,0.9\r\n\nvirginica,0.5\n", "text/csv", 3) == [
        b"setosa,0.9",
        b"",
        b"virginica,0.5",
    ]


def test_digits_are_kept() -> None:
    body = b"[123456789012345678901234567890, 0.1000, -0.0]"
    assert values_of(body, JSON, 3) == [b"123456789012345678901234567890", b"0.1000", b"-0.0"]


def test_a_single_record_is_answered_in_the_way_it_was_asked() -> None:
    assert values_of(b"[[1,2]]", JSON, 1, "json-array") == [b"[1,2]"]
    assert values_of(b"[1,2]\n", LINES, 1) == [b"[1,2]"]
    assert values_of(b"[1,2]\n", None, 1) == [b"[1,2]"]
    assert values_of(b"[1,2]\n", "text/plain", 1) == [b"[1,2]"]
    assert values_of(b"[\n1\n]\n", "text/plain", 1) == [b"1"]
    assert values_of(b'{\n"a": 1}', JSON, 1, "json-array") == [b'{\n"a": 1}']


@pytest.mark.parametrize(
    ("body", "kind", "count", "framing"),
    [
        (b"[1,2]", JSON, 3, "json-array"),
        (b"[1,2]", JSON, 1, "json-array"),
        (b"[1,2]", None, 1, "json-array"),
        (b"[]", JSON, 1, "json-array"),
        (b"[\n1,\n2\n]", "text/plain", 4, "lines"),
        (b'{"predictions":[1,2]}', JSON, 2, "json-array"),
        (b"1\n2\n", LINES, 3, "lines"),
        (b"1\n2\n", "text/csv", 3, "lines"),
        (b"[1,2]", LINES, 2, "lines"),
        (b"", LINES, 2, "lines"),
    ],
)
def test_a_wrong_number_of_outputs_is_never_guessed_at(
    body: bytes, kind: str | None, count: int, framing: Framing
) -> None:
    assert reason_of(body, kind, count, framing) == "count_mismatch"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[1,2", JSON),
        (b"1\nx\n", LINES),
        (b"\x89PNG", "image/png"),
        (b"[1,NaN]", JSON),
        (b"[" * 2000 + b"]" * 2000, JSON),
    ],
)
def test_what_cannot_be_read_is_a_bad_answer(body: bytes, kind: str) -> None:
    assert reason_of(body, kind, 2) == "bad_answer"


def test_depth_is_no_problem() -> None:
    deep = b"[" * 1000 + b"]" * 1000
    assert values_of(b"[" + deep + b"," + deep + b"]", JSON, 2) == [deep, deep]


documents = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8"), max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", '"', "],"]), inner)
    ),
    max_leaves=12,
)


@given(values=st.lists(documents, min_size=1, max_size=6), indent=st.sampled_from([None, 1]))
def test_splitting_an_array_gives_its_elements_as_written(
    values: list[object], indent: int | None
) -> None:
    body = json.dumps(values, indent=indent).encode()
    outputs = values_of(body, JSON, len(values), "json-array")
    assert [orjson.loads(output) for output in outputs] == values
    assert all(output in body for output in outputs)
    assert reason_of(body, JSON, len(values) + 1, "json-array") == "count_mismatch"


@given(
    values=st.lists(documents, min_size=2, max_size=6), kind=st.sampled_from([LINES, JSON, None])
)
def test_splitting_lines_gives_the_lines(values: list[object], kind: str | None) -> None:
    lines = [orjson.dumps(value) for value in values]
    assert values_of(b"\n".join(lines), kind, len(values)) == lines


@given(
    body=st.binary(max_size=60),
    count=st.integers(1, 4),
    kind=st.sampled_from([LINES, JSON, None, "text/csv"]),
)
def test_any_answer_is_split_or_refused(body: bytes, count: int, kind: str | None) -> None:
    outputs = split(body, kind, range(count), packing("lines"))
    assert isinstance(outputs, Mismatch) or len(outputs.values) == count
