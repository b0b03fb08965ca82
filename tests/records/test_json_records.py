"""A line of JSON becomes a record, or an item that says why it cannot."""

import tracemalloc

import pytest

from dispatcher.reasons import Reason
from dispatcher.records.json_records import JsonLines
from dispatcher.records.record import Item, Position, Record, Unreadable
from dispatcher.records.source import START, Mark


def parse(*lines: bytes, key: str | None = None, max_bytes: int = 1000) -> list[Item]:
    return JsonLines("f", key=key, max_bytes=max_bytes, mark=START).parse(lines)


def bad(line: bytes, key: str | None = None, max_bytes: int = 1000) -> Unreadable:
    (item,) = parse(line, key=key, max_bytes=max_bytes)
    assert isinstance(item, Unreadable)
    assert item.key == "f:1"
    assert "f, line 1" in item.message
    return item


def test_a_record_is_named_by_its_line_by_default() -> None:
    assert parse(b'{"a":1}', b"[2]") == [
        Record(Position("f", 0, 8, 1), "f:1", b'{"a":1}'),
        Record(Position("f", 8, 12, 2), "f:2", b"[2]"),
    ]


def test_blank_lines_belong_to_the_record_after_them() -> None:
    assert parse(b"", b"1", b" \t\r", b"\x0c", b"2", b"") == [
        Record(Position("f", 0, 3, 2), "f:2", b"1"),
        Record(Position("f", 3, 11, 5), "f:5", b"2"),
    ]


def test_positions_go_on_from_call_to_call_and_from_the_mark() -> None:
    lines = JsonLines("f", key=None, max_bytes=10, mark=Mark(100, 7))
    lines.parse([b"1"])
    assert lines.skip(50).position == Position("f", 102, 153, 9)
    assert lines.parse([b"2"]) == [Record(Position("f", 153, 155, 10), "f:10", b"2")]


def test_the_raw_bytes_are_one_line_without_blanks_around() -> None:
    (item,) = parse(b' {"a":\r1,"b":"x y"}\t\r')
    assert item.raw == b'{"a": 1,"b":"x y"}'


def test_numbers_keep_their_digits() -> None:
    raw = b'{"a":123456789012345678901234567890,"b":0.10000000000000000000001}'
    assert parse(raw)[0].raw == raw


def test_a_utf8_mark_is_tolerated_at_the_start_only() -> None:
    first, second = parse(b"\xef\xbb\xbf1", b"\xef\xbb\xbf2")
    assert first == Record(Position("f", 0, 5, 1), "f:1", b"1")
    assert isinstance(second, Unreadable)
    assert parse(b"\xef\xbb\xbf") == []


@pytest.mark.parametrize(
    "line", [b"{", b"NaN", b"{'a':1}", b"1 2", b'"\r"', b'"\\ud800"', b"1e999", b"[" * 2000]
)
def test_bad_json_keeps_its_bytes(line: bytes) -> None:
    item = bad(line, max_bytes=5000)
    assert (item.reason, item.raw) == ("bad_json", line)
    assert "column" in item.message


def test_bad_utf8_says_where() -> None:
    item = bad(b'{"a":"\xff"}')
    assert (item.reason, item.raw) == ("bad_utf8", b'{"a":"\xff"}')
    assert "byte 7" in item.message


def test_a_utf16_file_is_recognised() -> None:
    items = parse(*'{"a":1}\n{"a":2}\n'.encode("utf-16-le").split(b"\n"))
    assert {item.reason for item in items if isinstance(item, Unreadable)} == {"bad_json"}
    assert "UTF-16" in bad(b"\xff\xfe" + '{"a":1}'.encode("utf-16-le")).message


@pytest.mark.parametrize("key", ["k", "", "\u00e9" * 1024, 0, -5, 2**63 - 1, 2**64 - 1])
def test_text_and_integers_are_keys(key: str | int) -> None:
    line = b'{"id":%b,"x":[]}' % (f'"{key}"' if isinstance(key, str) else str(key)).encode()
    assert parse(line, key="id", max_bytes=5000)[0].key == key


@pytest.mark.parametrize("line", [b"{}", b'{"ID":1}', b"[1]", b"5", b'"id"', b"null"])
def test_a_record_without_its_key_cannot_be_named(line: bytes) -> None:
    item = bad(line, key="id")
    assert (item.reason, item.raw) == ("missing_key", line)
    assert "'id'" in item.message


@pytest.mark.parametrize(
    "value",
    [b"null", b"true", b"1.0", b"[]", b"{}", b"18446744073709551616", b'"%b"' % (b"k" * 1025)],
)
def test_other_values_are_no_keys(value: bytes) -> None:
    item = bad(b'{"id":%b}' % value, key="id", max_bytes=5000)
    assert item.reason == "bad_key"
    assert "'id'" in item.message


def test_no_message_repeats_the_input() -> None:
    secret = b"hunter2"
    for line in (b'{"id":{"p":"%b"}}', b'{"p":"%b"', b'{"p":"%b\xff"}', b'{"p":"%b"}'):
        assert "hunter2" not in bad(line % secret, key="id").message


def test_a_line_longer_than_allowed_is_measured() -> None:
    short, long, after = parse(b"1234", b"12345", b"6", max_bytes=4)
    assert isinstance(short, Record)
    assert long == Unreadable(
        Position("f", 5, 11, 2),
        "f:2",
        b"",
        Reason.TOO_LARGE,
        "f, line 2: the line at byte 5 is 5 bytes long, source.max_record is 4",
    )
    assert after.position == Position("f", 11, 13, 3)


def test_damage_is_an_item_with_a_span_of_its_own() -> None:
    lines = JsonLines("f", key=None, max_bytes=10, mark=START)
    lines.parse([b"1"])
    item = lines.damaged("the data is damaged", held=3)
    assert item.position == Position("f", 2, 6, 2)
    assert item.reason == "bad_compression"
    assert "byte 5" in item.message


def test_parsing_keeps_the_bytes_only() -> None:
    line = b"[%b]" % b",".join([b"1.5"] * 2000)
    lines = JsonLines("f", key=None, max_bytes=100_000, mark=START)
    tracemalloc.start()
    try:
        items = lines.parse([line] * 100)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(items) == 100
    assert held < 100 * len(line)
