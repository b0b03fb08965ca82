"""Slices of MessagePack: the place of a JSON pointer, elements, and values beyond JSON."""

import math
from datetime import UTC, datetime

import msgpack
import orjson
import pytest

from dispatcher.connectors.outcome_lines import embeddable
from dispatcher.packing import msgpack_slices
from dispatcher.packing.response_split import Outputs
from tests.packing.responses import (
    MSGPACK,
    answered,
    msgpack_of,
    reason,
    values,
)


def test_msgpack_becomes_json_where_that_is_exact() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    body = msgpack.packb([1, {"a": [None, 0.5]}, b"\x00", when, "\u00e9"], datetime=True)
    outputs = answered(body, MSGPACK, range(5), "msgpack-array")
    assert isinstance(outputs, Outputs)
    assert outputs.are_json
    assert [orjson.loads(value) for value in outputs.values] == [
        1,
        {"a": [None, 0.5]},
        {"base64": "AA=="},
        "2026-01-02T00:00:00+00:00",
        "\u00e9",
    ]


INEXACT = [
    math.nan,
    [math.inf],
    {1: 2},
    msgpack.ExtType(5, b"x"),
    [msgpack.ExtType(5, b"x"), 2**63],
    msgpack.Timestamp(1, 1),
    msgpack.Timestamp(2**60, 0),
]


@pytest.mark.parametrize("value", INEXACT)
def test_msgpack_that_json_cannot_carry_stays_as_it_is(value: object) -> None:
    packed = msgpack.packb(value)
    outputs = answered(msgpack_of(1, value), "application/x-msgpack", [1, 2], "msgpack-array")
    assert outputs == Outputs([b"1", packed], are_json=False, content_type="application/x-msgpack")
    assert not embeddable(packed)
    outputs = answered(packed, MSGPACK, [1], "none")
    assert outputs == Outputs([packed], are_json=False, content_type=MSGPACK)


def test_msgpack_text_that_is_no_utf8_stays_as_it_is() -> None:
    packed = b"\xa2\xff\xfe"
    assert values(answered(b"\x91" + packed, MSGPACK, [1], "msgpack-array")) == [packed]


def test_msgpack_without_framing_is_one_output() -> None:
    outputs = answered(msgpack_of(1, 2), MSGPACK, [1], "none")
    assert outputs == Outputs([b"[1,2]"], are_json=True, content_type=MSGPACK)


@pytest.mark.parametrize("pointer", ["/p", "/q/1"])
def test_a_pointer_leads_into_msgpack(pointer: str) -> None:
    document = {b"p": 0, "q": [5, [1, {"a": math.nan}]], "r": {}, "p": [1, {"a": math.nan}]}
    found = values(answered(msgpack.packb(document), MSGPACK, [1, 2], list=pointer))
    assert found == [b"1", msgpack.packb({"a": math.nan})]


@pytest.mark.parametrize("pointer", ["/x", "/p/0/0", "/p/7", "/r/0"])
def test_msgpack_without_the_place_is_a_bad_answer(pointer: str) -> None:
    body = msgpack.packb({"p": [1, 2], "r": {}})
    assert reason(answered(body, MSGPACK, [1, 2], list=pointer)) == "bad_answer"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x92\x01",
        b"\x92\x01\x02\x03",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff\x01",
        b"\x91" * 5_000 + b"\x01",
        b"\xdb\xff\xff\xff\xff",
        b"[1,2]",
    ],
)
def test_what_is_no_msgpack_is_a_bad_answer(body: bytes) -> None:
    assert reason(answered(body, MSGPACK, [1, 2])) == "bad_answer"


@pytest.mark.parametrize("body", [msgpack_of(1), msgpack_of(1, 2, 3), b"\x01", msgpack_of()])
def test_a_wrong_number_of_msgpack_outputs(body: bytes) -> None:
    assert reason(answered(body, MSGPACK, [1, 2])) == "count_mismatch"


def test_an_id_is_read_beside_what_json_cannot_carry() -> None:
    first, second = ({"id": key, "x": msgpack.ExtType(5, b"")} for key in "ab")
    found = values(answered(msgpack_of(second, first), MSGPACK, ["a", "b"], id="id"))
    assert found == [msgpack.packb(first), msgpack.packb(second)]


def test_no_more_elements_are_cut_than_asked_for() -> None:
    assert msgpack_slices.elements(msgpack_of(1, "a", None), 2) == ([b"\x01", b"\xa1a"], 3)
    assert msgpack_slices.elements(b"\x05", 2) == ([b"\x05"], 1)


def test_a_member_that_is_not_there_has_the_default() -> None:
    packed = msgpack.packb({"a": 1, "b": msgpack.ExtType(5, b"x")})
    assert msgpack_slices.member(packed, "a") == 1
    assert msgpack_slices.member(packed, "b", "absent") is None
    assert msgpack_slices.member(packed, "c", "absent") == "absent"
    assert msgpack_slices.member(msgpack_of(1), "a", "absent") == "absent"
