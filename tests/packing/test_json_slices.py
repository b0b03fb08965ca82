"""Slices of JSON text: the place of a JSON pointer, and the elements of an array."""

import json
from typing import get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.packing import Framing
from dispatcher.packing import json_slices
from tests.packing.responses import (
    JSON,
    LINES,
    answered,
    documents,
    reason,
    values,
)


@pytest.mark.parametrize(
    ("pointer", "body"),
    [
        ("/predictions", b'{"model":"m","predictions":[1.50, {"a":[]}],"more":[[],{}]}'),
        ("/a/b", b' { "a" : {"b":[1.50, {"a":[]} ] , "c":",]"} } '),
        ("/1/x", b'[0,{"x":[1.50,{"a":[]}]},2]'),
        ("/a~1b~0/\u00e9", '{"a/b~":{"\u00e9":[1.50,{"a":[]}]}}'.encode()),
        ("/é", b'{"\\u00e9":[1.50,{"a":[]}]}'),
        ("/", b'{"":[1.50,{"a":[]}]}'),
        ("/x", b'{"x":[0,0],"x":[1.50,{"a":[]}]}'),
    ],
)
def test_a_pointer_leads_to_the_list(pointer: str, body: bytes) -> None:
    for framing in get_args(Framing):
        if framing not in ("none", "template", "msgpack-array"):
            outputs = answered(body, JSON, [1, 2], framing, list=pointer)
            assert values(outputs) == [b"1.50", b'{"a":[]}']


def test_a_pointer_without_framing_leads_to_the_list_of_one() -> None:
    assert values(answered(b'{"p":[{"a":1}]}', JSON, [1], "none", list="/p")) == [b'{"a":1}']
    assert values(answered(b'{"p":{"a":1}}', JSON, [1], "none", list="/p")) == [b'{"a":1}']
    assert reason(answered(b'{"p":[1,2]}', JSON, [1], "none", list="/p")) == "count_mismatch"


@pytest.mark.parametrize(
    "body",
    [
        b'{"p":[1,2]',
        b'{"p":[1,2],}',
        b'{"p":[1,2],"q":nope}',
        b'{"p":[1,nope]}',
        b'{"p":[1,2]],"q":[}',
        b'{"p" [1,2]}',
        b"{p:[1,2]}",
        b'{"q":[1,2]}',
        b"[1,2]",
        b"1\n2\n",
        b'{"p":[1,2],"s":"\\"\\"',
        b'"text"',
        b"",
    ],
)
def test_a_document_without_a_readable_list_is_a_bad_answer(body: bytes) -> None:
    assert reason(answered(body, JSON, [1, 2], list="/p")) == "bad_answer"
    assert reason(answered(body, LINES, [1, 2], list="/p")) == "bad_answer"


@given(
    outputs=st.lists(documents, max_size=5),
    other=documents,
    indent=st.sampled_from([None, 1]),
    names=st.lists(st.text(st.characters(codec="utf-8"), max_size=3), min_size=1, max_size=3),
)
def test_whatever_stands_around_the_list(
    outputs: list[object], other: object, indent: int | None, names: list[str]
) -> None:
    document: object = outputs
    for name in reversed(names):
        document = {f"{name}-": other, name: document, f"-{name}": [other]}
    pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
    body = json.dumps(document, indent=indent).encode()
    keys = range(max(1, len(outputs)))
    found = answered(body, JSON, keys, list=pointer)
    if outputs:
        assert [orjson.loads(value) for value in values(found)] == outputs
    else:
        assert reason(found) == "count_mismatch"


def test_a_long_object_is_one_output() -> None:
    body = b'{"a":"' + b"x" * 200_000 + b'","b":[1]}'
    assert values(answered(body, JSON, [1])) == [body]
    assert reason(answered(body, JSON, [1, 2])) == "count_mismatch"
    assert reason(answered(body[:-1] + b",}", JSON, [1])) == "bad_answer"
    assert reason(answered(b"1" + b" 1" * 200_000, JSON, [1])) == "bad_answer"


def test_a_string_without_an_end_takes_no_time() -> None:
    # Each quotation mark would be tried as the beginning of one, in hours.
    body = b'["' + b'\\"' * 2_000_000 + b"]"
    assert reason(answered(body, JSON, [1, 2])) == "bad_answer"
    assert reason(answered(body, JSON, [1, 2], list="/0")) == "bad_answer"


@given(outputs=st.lists(documents, max_size=6), indent=st.sampled_from([None, 1]))
def test_the_elements_of_an_array_are_slices_of_it(
    outputs: list[object], indent: int | None
) -> None:
    text = json.dumps(outputs, indent=indent).encode()
    slices = list(json_slices.elements(text))
    assert [orjson.loads(element) for element in slices] == outputs
    assert all(element in text for element in slices)


def test_a_place_that_is_not_there_differs_from_text_that_is_not_json() -> None:
    with pytest.raises(json_slices.NothingThereError):
        json_slices.at(b'{"a":[1]}', "/a/1")
    with pytest.raises(json_slices.NotJsonError, match="JSON has no -Infinity"):
        json_slices.at(b'{"a":-Infinity,"b":1}', "/b")
