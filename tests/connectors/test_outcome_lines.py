"""Every outcome is one line that any JSON reader takes, with the container's bytes in it."""

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.connectors.outcome_lines import (
    MAX_DEPTH,
    dead_letter_line,
    line_chunks,
    result_line,
)
from dispatcher.flow.content import ChangedError, FileSlice
from dispatcher.ledger.outcome import Meta, Outcome
from dispatcher.reasons import Reason
from dispatcher.records.record import Key, Position

Join = Literal["output", "input", "both"]
AT = Position("f", 0, 10, 1)


def completed(
    output: bytes, *, kind: str | None = "application/json", key: Key = "k", raw: bytes = b"1"
) -> Outcome:
    meta = Meta("i-1", "inline", 1.25, None, 3.5)
    return Outcome(AT, key, "completed", output, kind, attempts=2, input=raw, meta=meta)


def dead(raw: bytes | None, *, key: Key = "k", message: str = "It broke.") -> Outcome:
    return Outcome.dead(AT, key, Reason.MODEL_ERROR, message, attempts=3, input=raw)


def read(line: bytes) -> Any:
    assert b"\n" not in line
    assert b"\r" not in line
    value = json.loads(line)
    # orjson gives an integer beyond 64 bits as a float.
    assert orjson.loads(line).keys() == value.keys()
    return value


def test_the_smallest_result_line() -> None:
    line = result_line(completed(b'{"score": 0.90}'), "output", meta=False)
    assert line == b'{"key":"k","status":"completed","output":{"score": 0.90}}'


@pytest.mark.parametrize(
    ("join", "fields"),
    [
        ("output", ["key", "status", "output"]),
        ("input", ["key", "status", "input"]),
        ("both", ["key", "status", "output", "input"]),
    ],
)
def test_join_chooses_what_a_line_carries(join: Join, fields: list[str]) -> None:
    value = read(result_line(completed(b"2"), join, meta=False))
    assert list(value) == fields
    assert (value.get("output", 2), value.get("input", 1)) == (2, 1)


def test_meta_shows_how_the_record_travelled() -> None:
    assert read(result_line(completed(b"2"), "output", meta=True))["meta"] == {
        "invocation_id": "i-1",
        "route": "inline",
        "attempts": 2,
        "planned": 1.25,
        "accepted": None,
        "settled": 3.5,
    }


def test_an_integer_key_stays_one() -> None:
    assert read(result_line(completed(b"2", key=7), "output", meta=False))["key"] == 7


def test_digits_are_kept_and_line_breaks_are_not() -> None:
    line = result_line(
        completed(b'\n{"a":\r\n 123456789012345678901234567890}\n'), "output", meta=False
    )
    assert line.endswith(b'"output":{"a":   123456789012345678901234567890}}')


@pytest.mark.parametrize(
    "output",
    [b"", b"  ", b"setosa", b"\x89PNG\n", b"NaN", b"{", b'"\\ud800"', b"1 2", b"\xef\xbb\xbf1"],
)
def test_an_output_that_is_not_json_is_base64(output: bytes) -> None:
    value = read(result_line(completed(output, kind="text/csv"), "output", meta=False))
    assert base64.b64decode(value["output"]["base64"]) == output
    assert value["output"]["content_type"] == "text/csv"


def test_an_unknown_content_type_is_null() -> None:
    value = read(result_line(completed(b"x", kind=None), "output", meta=False))
    assert value["output"] == {"base64": "eA==", "content_type": None}


@pytest.mark.parametrize("levels", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 1023, 1024, 5000])
def test_only_what_every_reader_can_nest_is_embedded(levels: int) -> None:
    deep = b"[" * levels + b"]" * levels
    value = read(result_line(completed(deep), "output", meta=False))
    assert isinstance(value["output"], list) == (levels <= MAX_DEPTH)


def test_wide_is_not_deep() -> None:
    wide = b"[" + b",".join([b"{}"] * 5000) + b"]"
    assert read(result_line(completed(wide), "output", meta=False))["output"] == [{}] * 5000


def test_a_dead_letter_line() -> None:
    assert dead_letter_line(dead(b'{"a": 1.0}')) == (
        b'{"key":"k","status":"failed","reason":"model_error","message":"It broke.",'
        b'"attempts":3,"input":{"a": 1.0}}'
    )


@pytest.mark.parametrize(
    ("raw", "value"), [(None, None), (b"", {"base64": ""}), (b"{\xff", {"base64": "e/8="})]
)
def test_an_input_that_is_not_json_is_base64_too(raw: bytes | None, value: object) -> None:
    assert read(dead_letter_line(dead(raw)))["input"] == value


def test_names_that_are_not_utf8_do_not_break_a_line() -> None:
    assert read(dead_letter_line(dead(b"1", key="a\udcff:1")))["key"] == "a?:1"


almost_json = st.one_of(
    st.binary(max_size=30),
    st.text(st.sampled_from('[]{},:"\\ud8nN1e.-9 \n\r\u2028'), max_size=30).map(str.encode),
    st.recursive(
        st.one_of(st.integers(), st.text(st.characters(codec="utf-8")), st.none()), st.lists
    ).map(lambda value: json.dumps(value, indent=1, ensure_ascii=False).encode()),
    st.integers(0, 10**400).map(lambda n: str(n).encode()),
)
keys = st.one_of(st.text(max_size=8), st.integers(-(2**63), 2**64 - 1))


@given(
    output=almost_json,
    raw=almost_json,
    key=keys,
    kind=st.one_of(st.none(), st.text(max_size=8)),
    join=st.sampled_from(["output", "input", "both"]),
)
def test_every_result_line_can_be_read_and_gives_the_output_back(
    output: bytes, raw: bytes, key: Key, kind: str | None, join: Join
) -> None:
    outcome = completed(output, kind=kind, key=key, raw=raw)
    value = read(result_line(outcome, join, meta=True))
    for field, given_bytes in (("output", output), ("input", raw)):
        if field not in value:
            continue
        found = value[field]
        if isinstance(found, dict) and "base64" in found:
            assert base64.b64decode(found["base64"]) == given_bytes
        else:
            assert found == json.loads(given_bytes)


@given(raw=st.one_of(st.none(), almost_json), key=keys, message=st.text(max_size=20))
def test_every_dead_letter_line_can_be_read(raw: bytes | None, key: Key, message: str) -> None:
    value = read(dead_letter_line(dead(raw, key=key, message=message)))
    assert list(value) == ["key", "status", "reason", "message", "attempts", "input"]


# Inputs that are too large for memory


def blob_of(tmp_path: Path, raw: bytes, *, crc: int | None = None) -> FileSlice:
    path = tmp_path / "blob"
    path.write_bytes(b"..." + raw)
    return FileSlice(os.open(path, os.O_RDONLY), 3, len(raw), crc=crc)


@settings(deadline=None)
@given(
    raw=almost_json,
    key=keys,
    shown=st.tuples(st.sampled_from(["output", "input", "both"]), st.booleans()),
    chunk=st.integers(1, 9),
)
@example(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, "k", ("both", False), 7)
@example(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "k", ("both", False), 7)
@example(b"null", "null", ("input", False), 2)
@example(b"0", 0, ("both", True), 1)
def test_line_chunks_a_line_says_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    raw: bytes,
    key: Key,
    shown: tuple[Join, bool],
    chunk: int,
) -> None:
    join, meta = shown
    folder = tmp_path_factory.getbasetemp()
    with mock.patch("dispatcher.flow.content.CHUNK_BYTES", chunk):
        for outcome, render in (
            (completed(b"[2]", key=key), lambda o: result_line(o, join, meta=meta)),
            (dead(b"", key=key), dead_letter_line),
        ):
            whole = render(replace(outcome, input=raw))
            large = replace(outcome, input=blob_of(folder, raw))
            line = b"".join(line_chunks(large, render))
            assert read(line) == read(whole)


def test_what_is_not_the_record_any_more_is_never_a_whole_line(tmp_path: Path) -> None:
    outcome = dead(b"")
    pieces = line_chunks(replace(outcome, input=blob_of(tmp_path, b"[1]", crc=5)), dead_letter_line)
    with pytest.raises(ChangedError):
        list(pieces)
    gone = blob_of(tmp_path, b"[1]")
    gone.close()
    with pytest.raises(ChangedError, match="Bad file descriptor"):
        list(line_chunks(replace(outcome, input=gone), dead_letter_line))
