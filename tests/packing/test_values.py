"""Every value reads back as it was encoded, or its encoding refuses it."""

import base64
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any
from uuid import UUID

import msgpack
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dispatcher.packing.values import Format, NotEncodableError, encode, parse

NAIVE = datetime.fromisoformat("2026-01-02T00:00:00")
text = st.text(st.characters(codec="utf-8"), max_size=6)
small = st.integers(-(2**63), 2**64 - 1)
# As MessagePack's own Python library gives them back, without years that UTC would not reach.
times = st.datetimes(
    datetime.fromisoformat("1970-01-02"),
    datetime.fromisoformat("9998-01-01"),
    timezones=st.sampled_from([UTC, timezone.min]),
)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=2).map(tuple),
            st.dictionaries(text, inner, max_size=4),
        ),
        max_leaves=12,
    )


def same(value: Any) -> Any:
    """Return what JSON and MessagePack have for a tuple."""
    if isinstance(value, dict):
        return {key: same(inner) for key, inner in value.items()}
    return [same(inner) for inner in value] if isinstance(value, list | tuple) else value


def as_json(value: Any) -> Any:
    """Return the value that the table of docs/packing.md says JSON has for a value."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: as_json(inner) for key, inner in value.items()}
    return [as_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def is_same(left: Any, right: Any) -> bool:
    """Compare as Python does, except that NaN is NaN and true is not 1."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_same(left[k], right[k]) for k in left)
    if isinstance(left, float) and math.isnan(left):
        return isinstance(right, float) and math.isnan(right)
    return type(left) is type(right) and left == right and repr(left) == repr(right)


numbers = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    text,
)
json_values = nested(st.one_of(numbers, st.binary(max_size=6), times, st.datetimes()))
msgpack_values = nested(
    st.one_of(st.none(), st.booleans(), small, st.floats(), text, st.binary(max_size=6))
)


@given(value=json_values)
@example(value=[2**64 - 1, 2**64, -(2**63), -(2**63) - 1, None, "null"])
def test_json_is_read_back_as_it_was(value: Any) -> None:
    assert is_same(json.loads(encode(value, "json")), as_json(value))


@given(value=msgpack_values)
@example(value=[math.nan, math.inf, -math.inf, -0.0])
def test_msgpack_is_read_back_as_it_was(value: Any) -> None:
    assert is_same(msgpack.unpackb(encode(value, "msgpack")), same(value))


@given(when=times)
def test_msgpack_has_the_instant_of_a_time(when: datetime) -> None:
    assert msgpack.unpackb(encode({"at": when}, "msgpack"), timestamp=3) == {"at": when}


@given(data=st.binary(), kind=st.sampled_from([{}, {"content_type": "image/png"}]))
def test_raw_is_bytes_and_what_stands_for_them(data: bytes, kind: dict[str, str]) -> None:
    assert encode(data, "raw") == data
    assert encode({"base64": base64.b64encode(data).decode(), **kind}, "raw") == data
    assert encode(orjson.loads(encode(data, "json")), "raw") == data


@given(value=nested(numbers))
def test_parsing_keeps_every_digit_of_an_integer(value: Any) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode()
    assert is_same(parse(raw), same(value))
    assert is_same(json.loads(encode(parse(raw), "json")), same(value))


def test_long_fractions_are_floats() -> None:
    raw = b'{"a":0.1234567890123456789012345,"b":"9999999999999999999999","c":12345678901234567890}'
    assert parse(raw) == json.loads(raw)
    assert parse(b"1" * 40 + b".5") == float("1" * 40)


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize("around", [[], [None], [2**70]], ids=["fast", "null", "integer"])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\x00\xff", {"base64": "AP8="}),
        (bytearray(b"a"), {"base64": "YQ=="}),
        (memoryview(b"a"), {"base64": "YQ=="}),
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006+00:00"),
        (
            datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
            "2026-01-02T00:00:00-05:30",
        ),
        (NAIVE, "2026-01-02T00:00:00"),
        (msgpack.Timestamp(1, 5000), "1970-01-01T00:00:01.000005+00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
    ],
)
def test_json_of_what_json_has_no_form_for(around: list[Any], value: Any, text: Any) -> None:
    assert json.loads(encode([value, *around], "json")) == [text, *around]


deep: list[Any] = []
for _ in range(5_000):
    deep = [deep]
REFUSED: list[tuple[Format, Any, str]] = [
    ("json", math.nan, "not JSON compliant"),
    ("json", {"a": [None, {"b": math.inf}]}, "not JSON compliant"),
    ("json", [2**70, -math.inf], "not JSON compliant"),
    ("json", {1: 2}, "a key must be text"),
    ("json", {"a": [2**70, ({None: 1},)]}, "a key must be text"),
    ("json", "\ud800", "surrogates"),
    ("json", ["\ud800", 2**70], "surrogates"),
    ("json", object(), "object has no form in JSON"),
    ("json", [2**70, {1}], "set has no form in JSON"),
    ("json", msgpack.Timestamp(1, 1), "finer than a microsecond"),
    ("json", datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=90))), "off by seconds"),
    ("json", deep, "nested too deeply"),
    ("msgpack", 2**64, "out of range"),
    ("msgpack", -(2**63) - 1, "."),
    ("msgpack", NAIVE, "tzinfo=None"),
    ("msgpack", {1: 2}, "map key"),
    ("msgpack", "\ud800", "surrogates"),
    ("msgpack", [object()], "can not serialize"),
    ("msgpack", deep, "recursion limit"),
    ("raw", "text", "bytes only"),
    ("raw", {"a": 1}, "bytes only"),
    ("raw", {"base64": "YQ==", "more": 1}, "bytes only"),
    ("raw", {"base64": "Y Q=="}, "not base64"),
    ("raw", {"base64": "YQ"}, "not base64"),
    ("raw", {"base64": "\u00e9"}, "not base64"),
    ("raw", {"base64": 5}, "not base64"),
]


@pytest.mark.parametrize(("form", "value", "why"), REFUSED)
def test_what_an_encoding_cannot_carry_is_refused(form: Format, value: Any, why: str) -> None:
    with pytest.raises(NotEncodableError, match=why):
        encode(value, form)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"NaN", b"1e999", b"\xff", b"9" * 5_000, b"[" * 1000 + b"9" * 30]
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(NotEncodableError, match="cannot be read as JSON"):
        parse(raw)
