"""An answer gives every record its own output, or says that it does not."""

import gzip
import json
import tracemalloc
from typing import Any

import msgpack
import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.config.packing import Framing
from dispatcher.packing.response_split import Mismatch, Outputs, decompressed_size, split
from dispatcher.reasons import Reason
from dispatcher.records.record import Key
from tests.packing.responses import (
    JSON,
    LINES,
    MSGPACK,
    answered,
    documents,
    msgpack_of,
    reason,
    values,
)
from tests.payloads import packing

Json = dict[str, Any]
MAX_BYTES = 1_000_000


def values_of(body: bytes, kind: str | None, count: int, framing: Framing = "lines") -> list[bytes]:
    outputs = split(body, kind, range(count), packing(framing), max_bytes=MAX_BYTES)
    assert isinstance(outputs, Outputs), outputs
    if outputs.are_json:
        for value in outputs.values:
            orjson.loads(value)
    return outputs.values


def reason_of(body: bytes, kind: str | None, count: int, framing: Framing = "lines") -> str:
    mismatch = split(body, kind, range(count), packing(framing), max_bytes=MAX_BYTES)
    assert isinstance(mismatch, Mismatch), mismatch
    assert mismatch.message
    return mismatch.reason


@pytest.mark.parametrize("body", [b"", b"[1, 2]", b"\xff\x00", b"a\nb\n"])
def test_one_record_without_framing_gets_the_whole_answer(body: bytes) -> None:
    outputs = split(body, "image/png", [1], packing("none"), max_bytes=MAX_BYTES)
    assert outputs == Outputs([body], are_json=False, content_type="image/png")


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


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"[NaN]", JSON, "JSON has no NaN, the container has to write null, at 'NaN'"),
        (b'{"a": [-Infinity]}', JSON, "JSON has no -Infinity, the container has to write null"),
        (b'{"a": nan}\n', LINES, 'JSON has no nan, the container has to write null, at \'{"a"'),
        (b"[1,2, NaN,4]", JSON, "after 2 outputs, JSON has no NaN"),
        (b"1\n2\n{]\n", JSON, "after 2 outputs, "),
        (b"[1, oops]", None, "after 1 output, "),
        (b"\n", JSON, "the answer holds 0 outputs for 4 records"),
        ("[1,2]".encode("utf-16"), JSON, "it begins like UTF-16, and JSON is UTF-8"),
        ("[1,2]".encode("utf-16-le"), JSON, "it begins like UTF-16, and JSON is UTF-8"),
        (b'["\xff"]', JSON, "not valid UTF-8"),
        (b'["' + b"1" * 50_000 + b'"x]', JSON, "at '1111111111111111111\"x'"),
    ],
)
def test_the_message_says_what_makes_an_answer_unreadable(
    body: bytes, kind: str, words: str
) -> None:
    mismatch = split(body, kind, range(4), packing("lines"), max_bytes=MAX_BYTES)
    assert isinstance(mismatch, Mismatch)
    assert words in mismatch.message
    assert len(mismatch.message) < 300


@pytest.mark.parametrize("kind", [JSON, LINES, "text/csv", None])
def test_a_byte_order_mark_is_no_content(kind: str | None) -> None:
    assert values_of(b"\xef\xbb\xbf1\n2\n", kind, 2) == [b"1", b"2"]
    if kind != LINES:
        assert values_of(b"\xef\xbb\xbf[1,2]", kind, 2) == [b"1", b"2"]


def test_depth_is_no_problem() -> None:
    deep = b"[" * 1000 + b"]" * 1000
    assert values_of(b"[" + deep + b"," + deep + b"]", JSON, 2) == [deep, deep]


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
    outputs = split(body, kind, range(count), packing("lines"), max_bytes=MAX_BYTES)
    assert isinstance(outputs, Mismatch) or len(outputs.values) == count


# `packing.answer.framing`, by which one record is answered as several are

LABELS = [LINES, JSON, "text/html", "text/plain", "application/octet-stream", None]


def as_lines(outputs: list[object]) -> bytes:
    return b"\n".join(map(orjson.dumps, outputs))


@pytest.mark.parametrize("kind", LABELS)
@settings(max_examples=20)
@given(outputs=st.lists(documents, min_size=1, max_size=5))
def test_lines_are_lines_whatever_their_label_and_number(
    kind: str | None, outputs: list[object]
) -> None:
    for packed in (1, len(outputs)):
        found: list[bytes] = []
        for start in range(0, len(outputs), packed):
            some = outputs[start : start + packed]
            for framing in ("none", "lines", "json-array") if packed == 1 else ("lines",):
                keys = range(len(some))
                lines = values(answered(as_lines(some), kind, keys, framing, framing_="lines"))
            found += lines
        assert found == [orjson.dumps(output) for output in outputs]


@pytest.mark.parametrize("kind", [*LABELS, MSGPACK])
@pytest.mark.parametrize("pointer", ["", "/p"])
@settings(max_examples=20)
@given(outputs=st.lists(documents, min_size=1, max_size=5))
def test_an_array_is_an_array_whatever_its_label_and_number(
    kind: str | None, pointer: str, outputs: list[object]
) -> None:
    dumps = msgpack.packb if kind == MSGPACK else orjson.dumps
    for some in (outputs, *([output] for output in outputs)):
        body = dumps({"q": 1, "p": some} if pointer else some)
        for framing in ("lines", "json-array"):
            keys = range(len(some))
            found = values(answered(body, kind, keys, framing, framing_="array", list=pointer))
            assert [orjson.loads(value) for value in found] == some


@pytest.mark.parametrize("kind", [JSON, LINES, MSGPACK, "text/html", None])
def test_what_is_no_array_is_no_output_of_one_record(kind: str | None) -> None:
    document: Json = {"predictions": [{"id": 97}]}
    body = msgpack.packb(document) if kind == MSGPACK else orjson.dumps(document)
    for pointer in ("", "/predictions/0"):
        found = answered(body, kind, [97], framing_="array", list=pointer)
        assert reason(found) == "bad_answer"
        assert isinstance(found, Mismatch)
        assert "packing.answer.framing" in found.message
    assert reason(answered(b"[1]\n[2]", kind, [1, 2], framing_="array")) == "bad_answer"


def test_lines_that_are_not_json_are_no_lines_but_of_text() -> None:
    assert reason(answered(b"a,1\nb,2\n", None, [1, 2], framing_="lines")) == "bad_answer"
    assert reason(answered(b"[1,\n2]", JSON, [1, 2], framing_="lines")) == "bad_answer"
    found = answered(b"a,1\nb,2\n", "text/csv", [1, 2], framing_="lines")
    assert values(found) == [b"a,1", b"b,2"]


def test_lines_in_msgpack_by_name_are_lines() -> None:
    found = answered(b"[1]\n[2]", MSGPACK, [1, 2], framing_="lines")
    assert found == Outputs([b"[1]", b"[2]"], are_json=True, content_type=MSGPACK)


def test_ids_are_found_in_either() -> None:
    outputs: list[object] = [{"id": 2}, {"id": 1}]
    for body, way in ((as_lines(outputs), "lines"), (orjson.dumps(outputs), "array")):
        found = values(answered(body, "text/html", [1, 2], framing_=way, id="id"))
        assert found == [b'{"id":1}', b'{"id":2}']


def test_a_lone_array_that_may_be_a_line_names_the_key() -> None:
    for body in (b"[0.3,0.7]\n", b"[]"):
        found = answered(body, JSON, [1], "lines")
        assert reason(found) == "count_mismatch"
        assert isinstance(found, Mismatch)
        assert found.message.endswith("set packing.answer.framing to lines")
    for several in (
        answered(b"[1]", JSON, [1, 2]),
        answered(b"[1,2]", JSON, [1], framing_="array"),
    ):
        assert isinstance(several, Mismatch)
        assert "packing.answer.framing" not in several.message


def test_a_document_around_the_list_is_named_in_the_message() -> None:
    mismatch = answered(b'{"predictions":[1,2]}', JSON, [1, 2])
    assert isinstance(mismatch, Mismatch)
    assert mismatch.message == (
        "the answer holds 1 output (an object; a list in it is named by packing.answer.list) for "
        "2 records"
    )


# By id


@pytest.mark.parametrize("kind", [JSON, LINES, MSGPACK])
@given(
    keys=st.lists(
        st.one_of(st.integers(-(2**63), 2**64 - 1), st.text(st.characters(codec="utf-8"))),
        min_size=1,
        max_size=8,
        unique_by=str,
    ),
    data=st.data(),
)
def test_ids_pair_each_record_with_its_own_in_any_order(
    kind: str, keys: list[Key], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(keys))
    as_text = data.draw(st.booleans())
    outputs = [{"n": str(key), "id": str(key) if as_text else key} for key in order]
    body: bytes = {
        JSON: orjson.dumps(outputs),
        LINES: b"\n".join(map(orjson.dumps, outputs)),
        MSGPACK: msgpack.packb(outputs),
    }[kind]
    for framing in ("lines", "json-array", "msgpack-array"):
        found = values(answered(body, kind, keys, framing, id="id"))
        assert [orjson.loads(value)["n"] for value in found] == [str(key) for key in keys]


@pytest.mark.parametrize(
    "outputs",
    [
        [{"id": 1}, {"id": 1}],
        [{"id": 1}, {"id": 3}],
        [{"id": 1}, {}],
        [{"id": 1}, {"id": None}],
        [{"id": 2}, {"id": True}],
        [{"id": 2}, {"id": 1.0}],
        [{"id": 2}, {"id": [1]}],
        [{"id": 2}, 1],
        [{"id": 2}, "id"],
        [{"id": 2}, {"id": "1 "}],
        [[2], [1]],
    ],
)
def test_ids_that_do_not_name_each_record_once_pair_nothing(outputs: list[object]) -> None:
    assert reason(answered(orjson.dumps(outputs), JSON, [1, 2], id="id")) == "id_mismatch"
    lines = b"\n".join(map(orjson.dumps, outputs))
    for kind in (LINES, "text/plain"):
        assert reason(answered(lines, kind, [1, 2], "lines", id="id")) == "id_mismatch"
    assert reason(answered(msgpack_of(*outputs), MSGPACK, [1, 2], id="id")) == "id_mismatch"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.0, "is 1.0;"),
        (True, "is true;"),
        (None, "is null;"),
        ([1], "is an array;"),
        ({"a": 1}, "is an object;"),
        (b"1", "is bytes;"),
    ],
)
def test_an_id_that_is_no_key_is_shown(value: object, shown: str) -> None:
    bodies = [(msgpack_of({"id": value}), MSGPACK)]
    if not isinstance(value, bytes):
        bodies.append((orjson.dumps([{"id": value}]), JSON))
    for body, kind in bodies:
        found = answered(body, kind, [1], id="id")
        assert isinstance(found, Mismatch)
        assert found.message.startswith("the field 'id' of an output, which packing.answer.id")
        assert shown in found.message


@pytest.mark.parametrize("output", [{}, 1, [1]])
def test_an_id_that_is_missing_may_not_have_been_sent(output: object) -> None:
    settings = packing("json-array", answer={"id": "id"}, select="{t: t}")
    for body, kind in ((orjson.dumps([output]), JSON), (msgpack_of(output), MSGPACK)):
        found = answered(body, kind, [1], id="id")
        assert isinstance(found, Mismatch)
        assert found.message.startswith("an output has no field 'id'")
        assert "packing.select" not in found.message
        found = split(body, kind, [1], settings, max_bytes=MAX_BYTES)
        assert isinstance(found, Mismatch)
        assert found.message.endswith("; is it among what packing.select sends?")


def test_ids_do_not_mend_a_wrong_count() -> None:
    assert reason(answered(b'[{"id":1}]', JSON, [1, 2], id="id")) == "count_mismatch"


def test_keys_that_look_alike_are_never_paired_by_id() -> None:
    body = b'[{"id":1},{"id":"1"}]'
    mismatch = answered(body, JSON, [1, "1"], id="id")
    assert mismatch == Mismatch(Reason.ID_MISMATCH, "two records of the request have the same key")
    assert reason(answered(b'[{"id":true}]', JSON, ["True"], id="id")) == "id_mismatch"


@pytest.mark.parametrize("kind", [None, JSON, "text/plain"])
def test_an_id_of_one_record_is_looked_for_in_a_list_too(kind: str | None) -> None:
    for body in (b'[{"id":"a"}]', b'{"id":"a"}'):
        assert values(answered(body, kind, ["a"], "lines", id="id")) == [b'{"id":"a"}']


def test_an_id_is_checked_without_framing_too() -> None:
    assert values(answered(b'{"id":"a"}', JSON, ["a"], "none", id="id")) == [b'{"id":"a"}']
    assert reason(answered(b'{"id":"b"}', JSON, ["a"], "none", id="id")) == "id_mismatch"


def test_of_two_members_with_one_name_the_last_one_counts() -> None:
    body = b"\x82\xa1p\x00\xa1p\x92\x01\x02"
    assert values(answered(body, MSGPACK, [1, 2], list="/p")) == [b"1", b"2"]
    assert values(answered(b'{"p":0,"p":[1,2]}', JSON, [1, 2], list="/p")) == [b"1", b"2"]


# Compressed


def compressed(body: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(body[:3]) + gzip.compress(body[3:])
    stream = zstandard.ZstdCompressor().compressobj()  # its frame does not hold the size
    return stream.compress(body) + stream.flush()


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("framing", ["none", "lines", "json-array"])
def test_a_compressed_answer_is_decompressed(framing: Framing, compression: str) -> None:
    body = compressed(b"[1.50,2]", compression)
    for kind in (
        f"application/json; encoding={compression}",
        f'application/json;charset=utf-8;Encoding="{compression.upper()}"',
    ):
        keys = [1] if framing == "none" else [1, 2]
        outputs = answered(body, kind, keys, framing, max_bytes=8)
        assert isinstance(outputs, Outputs)
        assert outputs.values == ([b"[1.50,2]"] if framing == "none" else [b"1.50", b"2"])
        assert (outputs.content_type or "").replace("; charset=utf-8", "") == JSON
        assert decompressed_size(body, kind, 8) == 8
        assert decompressed_size(body, kind, 7) == 0
        assert reason(answered(body, kind, keys, framing, max_bytes=7)) == "output_too_large"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_an_answer_that_is_not_compressed_as_it_says_is_a_bad_answer(compression: str) -> None:
    kind = f"application/json; encoding={compression}"
    whole = compressed(b"[1,2]" + b" " * 100, compression)
    for body in (b"[1,2]", whole[:-5], whole[:9]):
        assert reason(answered(body, kind, [1, 2])) == "bad_answer"
        assert decompressed_size(body, kind, 10_000) == 0


def test_other_parameters_say_nothing_of_compression() -> None:
    for kind in ("application/json; encoding=utf-8", "application/json; charset=gzip", None):
        assert values(answered(b"[1,2]", kind, [1, 2])) == [b"1", b"2"]
        assert decompressed_size(b"[1,2]", kind, 100) == 0


def test_a_bomb_takes_no_memory() -> None:
    bomb = gzip.compress(b"1\n" * 20_000_000)
    tracemalloc.start()
    try:
        found = answered(bomb, "application/jsonlines; encoding=gzip", [1, 2], max_bytes=100_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reason(found) == "output_too_large"
    assert peak < 5_000_000


@pytest.mark.parametrize("kind", [JSON, LINES, "text/plain", MSGPACK])
def test_far_too_many_outputs_take_no_memory(kind: str) -> None:
    count = 2_000_000
    body = {
        JSON: b"[" + b"1," * (count - 1) + b"1]",
        LINES: b"1\n" * count,
        "text/plain": b"1\n" * count,
        MSGPACK: b"\xdd" + count.to_bytes(4, "big") + b"\x01" * count,
    }[kind]
    tracemalloc.start()
    try:
        found = answered(body, kind, [1, 2])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reason(found) == "count_mismatch"
    if kind != MSGPACK:  # its header holds the count
        assert isinstance(found, Mismatch)
        assert "1,002 outputs or more" in found.message
    assert peak < 2 * len(body) + 1_000_000


# Every way there and back

WAYS = [
    (framing, form, kind)
    for framing, form in [
        ("lines", "json"),
        ("json-array", "json"),
        ("template", "json"),
        ("msgpack-array", "msgpack"),
    ]
    for kind in (JSON, LINES, MSGPACK)
]


@pytest.mark.parametrize(("framing", "form", "kind"), WAYS)
@given(
    data=st.data(),
    count=st.integers(1, 9),
    by_id=st.booleans(),
    compression=st.sampled_from(["", "gzip", "zstd"]),
)
def test_split_of_joined_answers_pairs_each_record_with_its_own(
    *,
    framing: Framing,
    form: str,
    kind: str,
    data: st.DataObject,
    count: int,
    by_id: bool,
    compression: str,
) -> None:
    keys: list[Key] = [f"k{n}" if n % 2 else n for n in range(count)]
    order = data.draw(st.permutations(keys)) if by_id else keys
    outputs = [{"id": key, "of": [str(key), data.draw(documents)]} for key in order]
    pointer = data.draw(st.sampled_from(["", "/p"])) if kind != LINES else ""
    document: object = {"p": outputs, "more": [1]} if pointer else outputs
    if kind == JSON:
        body = orjson.dumps(document)
    elif kind == LINES:
        body = b"\n".join(map(orjson.dumps, outputs))
    else:
        body = msgpack.packb(document)
    if compression:
        body, kind = compressed(body, compression), f"{kind}; encoding={compression}"
    settings = packing(
        framing,
        encodings=[form],
        template='{"instances": [...]}' if framing == "template" else None,
        answer={"list": pointer, "id": "id" if by_id else None},
    )
    found = values(split(body, kind, keys, settings, max_bytes=100_000))
    assert [orjson.loads(value)["of"] for value in found] == [
        next(output["of"] for output in outputs if output["id"] == key) for key in keys
    ]
