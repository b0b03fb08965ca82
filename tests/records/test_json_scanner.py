"""The piecewise scanner accepts exactly what orjson accepts whole, and finds the same key."""

import json
import os
import random
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.records.json_scanner import (
    MAX_DEPTH,
    MAX_NUMBER_BYTES,
    MISSING,
    OVERLONG,
    JsonScanner,
    MalformedError,
)
from dispatcher.records.record import KEY_CHARS

FIELD = "id"
INVALID = object()


def feed(scanner: JsonScanner, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        scanner.feed(piece)
    scanner.end()


def scanned(pieces: Sequence[bytes], field: str | None = FIELD) -> Any:
    """Return the value of the field, or that the pieces are no JSON."""
    scanner = JsonScanner(field)
    try:
        feed(scanner, pieces)
    except MalformedError:
        return INVALID
    return scanner.value


def loaded(text: bytes, field: str = FIELD) -> Any:
    """Return the same by orjson."""
    try:
        value = orjson.loads(text.strip())
    except orjson.JSONDecodeError:
        return INVALID
    if not isinstance(value, dict) or field not in value:
        return MISSING
    found = value[field]
    if isinstance(found, dict | list):
        return []
    return OVERLONG if isinstance(found, str) and len(found) > KEY_CHARS else found


def cut(text: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(at % (len(text) + 1) for at in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def agree(text: bytes, cuts: Sequence[int]) -> None:
    # Blanks before a value are the caller's to strip, those behind it are not.
    text = text.lstrip()
    found, expected = scanned(cut(text, cuts)), loaded(text)
    assert type(found) is type(expected)
    assert found == expected


texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.text('"\\/\b\f\n\r\t\x00\x1f\x7f\ud83d\ude00\u2028é日', max_size=8).map(
        lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
    ),
)
numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(10**300, 10**320),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.one_of(texts, st.sampled_from(["id", "i", "ID"])), inner, max_size=5),
    ),
    max_leaves=20,
)
documents = st.builds(
    lambda value, ascii_, indent, tight: json.dumps(
        value, ensure_ascii=ascii_, indent=indent, separators=(",", ":") if tight else None
    ).encode(),
    values,
    st.booleans(),
    st.sampled_from([None, None, 1, "\t"]),
    st.booleans(),
)
pieces_of_json = st.lists(
    st.sampled_from(
        [
            *(b'{ } [ ] , : " \\ 0 1 -1 1.5 1e5 1E+9 -0 01 1. .5 - e 1e400 1e-999 0e999 true false'
              b" null tru nul").split(),
            b'"id"', b'"i\\u0064"', b'"id":1', b'"id":"x"', b'{"id":', b'"\\ud83d\\ude00"',
            b'"\\ud83d"', b'"\\ude00"', b'"\\u12"', b'"\\x"', b'"a', b'b"', b"\xff", b"\xc3",
            "é".encode(), "🙂".encode(), b"\xed\xa0\x80", b" ", b"\n", b"\r", b"\t", b"\x0b",
            b"\x0c", b"\x00", b"\xa9", b"\xef\xbb\xbf", b"[[[[", b"]]]]", b'{"a":{"b":{"c":{',
            b"}}}}", b"[1,2],", b"1,",
        ]
    ),
    max_size=12,
).map(b"".join)  # fmt: skip
cuts = st.lists(st.integers(0, 10**6), max_size=10)


@settings(max_examples=600, deadline=None)
@given(text=st.one_of(documents, pieces_of_json), where=cuts)
@example(b'{"id":1,"id":"\\u00e9"}', [9])
@example(b'{"i\\u0064":1.5}', [3, 5])
@example(b'{"id":{},"id":[]}', [])
@example(b'{"a":{"id":1}}', [])
@example(b'[{"id":1}]', [])
@example(b"1 \x0b\x0c", [1])
@example(b'"\xf0\x9f\x99\x82"', [1, 2, 3, 4])
@example(b"[1,]", [2])
@example(b'{"a":1,}', [6])
@example(b"[[],[1,[2,[3,[4,],5]]]]", [])
def test_the_verdict_and_the_key_are_those_of_orjson(text: bytes, where: list[int]) -> None:
    agree(text, where)


@settings(max_examples=600, deadline=None)
@given(text=documents, data=st.data())
def test_one_byte_more_less_or_other_is_judged_as_by_orjson(
    text: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(text)))
    byte = data.draw(
        st.one_of(
            st.sampled_from([bytes([b]) for b in b'"\\[]{},:0-e.tn \n\x1f\x80\xe2']), st.just(b"")
        )
    )
    length = data.draw(st.integers(0, 2))
    agree(text[:at] + byte + text[at + length :], data.draw(cuts))


@settings(max_examples=150, deadline=None)
@given(sizes=st.lists(st.integers(1, 3), max_size=5), text=documents)
def test_it_may_come_byte_by_byte(sizes: list[int], text: bytes) -> None:
    at, pieces = 0, []
    for size in (sizes or [1]) * len(text):
        pieces.append(text[at : at + size])
        at += size
    assert scanned(pieces) == loaded(text)


@pytest.mark.parametrize("around", [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
@pytest.mark.parametrize("levels", [MAX_DEPTH - 2, MAX_DEPTH, MAX_DEPTH + 2])
def test_so_many_levels_and_no_more(around: tuple[bytes, bytes], levels: int) -> None:
    count = levels // (2 if len(around[1]) > 1 else 1)
    for inner in (b"", b"1"):
        agree(around[0] * count + (inner or b"[]") + around[1] * count, [7, 1000])


def test_another_bound_of_levels_is_exact_too() -> None:
    for levels in (1, 2, 3, 4, 5, 9, 10, 11):
        scanner = JsonScanner(max_depth=10)
        text = b"[" * levels + b'{"a":1},2' + b"]" * levels
        if levels < 10:
            feed(scanner, [text])
        else:
            with pytest.raises(MalformedError, match="more than 10 levels"):
                scanner.feed(text)


@pytest.mark.parametrize(
    "number",
    [
        b"1.7976931348623157e308", b"1.7976931348623158e308", b"1.7976931348623159e308",
        b"1" + b"0" * 308, b"1" + b"0" * 309, b"1" + b"0" * 400 + b"e-200", b"9" * 120,
        b"-1e309", b"1e-400", b"0." + b"0" * 400 + b"1", b"0e99999999999999999999",
        b"1e99999999999999999999", b"18446744073709551615", b"18446744073709551616",
    ],
)  # fmt: skip
def test_numbers_are_taken_as_orjson_takes_them(number: bytes) -> None:
    for text in (number, b"[%b,1]", b"[1,%b]", b'{"id":%b}', b'{"id":1,"x":%b}'):
        agree(text.replace(b"%b", number), [3, len(number) // 2])


def test_a_number_without_end_is_refused_and_not_held() -> None:
    scanner = JsonScanner()
    with pytest.raises(MalformedError, match="more than 100,000 digits"):
        feed(scanner, [b"1" * 1000] * 1000)
    assert len(scanner._rest) <= MAX_NUMBER_BYTES + 1000


@pytest.mark.parametrize("length", [KEY_CHARS, KEY_CHARS + 1, 5 * KEY_CHARS])
@pytest.mark.parametrize("char", ["k", "é", "🙂", "\n"])
def test_keys_have_a_longest(length: int, char: str) -> None:
    for ascii_ in (False, True):
        agree(json.dumps({"id": char * length}, ensure_ascii=ascii_).encode(), [5, 100, 5000])
    assert scanned([b'{"id":%b}' % (b"1." + b"0" * 2000)]) is OVERLONG


def test_any_name_can_be_the_field() -> None:
    for field in ("", "é", "🙂", 'a"b\\', "x" * 300):
        for ascii_ in (False, True):
            text = json.dumps({field + "x": 1, field: 2, "y": 3}, ensure_ascii=ascii_).encode()
            assert scanned([text], field) == scanned(list(map(bytes, zip(text))), field) == 2


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        (b'{"a":1 x}', 8, "a comma or an end was expected"),
        (b'{"a" 1}', 6, "a colon was expected"),
        (b'["a\tb"]', 4, "a control character"),
        (b'["a\\x"]', 4, "no such escape"),
        (b"[01]", 2, "no such number"),
        (b"[1e999]", 2, "beyond a double"),
        (b"[1] [2]", 5, "nothing more was expected"),
        (b"[1", 3, "ends too early"),
        (b'["\xff"]', 3, "not UTF-8"),
        (b'["\xc3', 3, "not UTF-8"),
    ],
)
def test_the_message_of_a_mistake_names_its_place(text: bytes, at: int, message: str) -> None:
    for pieces in ([text], [bytes([byte]) for byte in text]):
        scanner = JsonScanner()
        with pytest.raises(MalformedError, match=message) as raised:
            feed(scanner, pieces)
        assert raised.value.at == at
        assert raised.value.reason == ("bad_utf8" if "UTF" in message else "bad_json")


def test_memory_does_not_follow_the_length() -> None:
    piece = random.Random(1).randbytes(200_000).hex().encode()
    row = orjson.dumps([0.1] * 10_000)[1:-1]
    tracemalloc.start()
    try:
        scanner = JsonScanner("id")
        scanner.feed(b'{"x":"')
        for _ in range(40):
            scanner.feed(piece)
        scanner.feed(b'","y":[1')
        for _ in range(40):
            scanner.feed(b"," + row)
        scanner.feed(b'],"id":5}')
        scanner.end()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert scanner.value == 5
    assert peak < 3_000_000


def test_random_bytes_in_a_valid_frame() -> None:
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)  # noqa: T201 - repeats a failure
    rng = random.Random(seed)
    for _ in range(300):
        text = bytearray(b'[{"id":"abc","x":[1.5,2,[3,4]]},"text \\u00e9 more",{"y":{"z":null}}]')
        for _ in range(rng.randint(0, 2)):
            text[rng.randrange(len(text))] = rng.randrange(256)
        agree(bytes(text), [rng.randrange(100) for _ in range(3)])
