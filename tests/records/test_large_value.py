"""A line that is not held in memory becomes the same item as one that is."""

import errno
import os
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.connectors.jsonl import line_splitter as lines
from dispatcher.connectors.jsonl.line_splitter import LineSplitter, TooLong
from dispatcher.errors import StateError
from dispatcher.flow.content import FileSlice
from dispatcher.records import json_records
from dispatcher.records.json_records import JsonLines
from dispatcher.records.large_value import LargeValue
from dispatcher.records.record import Item, LargeRecord, Record, Unreadable
from dispatcher.records.source import START

LONGEST = 60


def items_of(content: bytes, cuts: list[int], large: int, folder: Path) -> list[Item]:
    """Return the items of lines of which those of ``large`` bytes are not held in memory."""
    items: list[Item] = []
    edges = [0, *sorted(at % (len(content) + 1) for at in cuts), len(content)]
    with (
        mock.patch.object(lines, "LARGE_BYTES", large),
        mock.patch.object(json_records, "LARGE_BYTES", large),
    ):
        splitter = LineSplitter(LONGEST, lambda first: LargeValue(folder, "id", is_first=first))
        parser = JsonLines("f", key="id", max_bytes=LONGEST, mark=START)
        pieces = [p for a, b in pairwise(edges) for p in splitter.feed(content[a:b])]
        for piece in (*pieces, *splitter.end()):
            if isinstance(piece, LargeValue):
                items += parser.add(piece)
            elif isinstance(piece, TooLong):
                items.append(parser.skip(piece.length))
            else:
                items += parser.parse(piece)
    return items


def shown_of(item: Item) -> tuple[object, ...]:
    """Return all of an item but the bytes of a bad one, which may be too many to keep."""
    if isinstance(item, Unreadable):
        # Where two things are wrong the first one is reported.
        both = item.reason in ("bad_json", "bad_utf8")
        return item.position, item.key, "malformed" if both else item.reason
    return item.position, item.key, item.raw


texts = st.one_of(
    st.binary(max_size=20),
    st.builds(
        lambda key, more, blanks: blanks + b'{"id":%b,\r"x":"%b"}' % (key, more) + blanks,
        st.sampled_from(
            [b"1", b'"a"', b'"\\u00e9"', b"1.5", b"null", b"[1]", b"{}", b'"%b"' % (b"k" * 20)]
        ),
        st.sampled_from([b"", b"abc", "é🙂".encode(), b"\xff", b"\\n", b"\\", b"\x01", b"y" * 40]),
        st.sampled_from([b"", b"  ", b"\t\r", b"\x0b", b"\x0c ", b" " * 30]),
    ),
    st.sampled_from(
        [b"", b"   ", b"[1]", b"5", b'{"ID":1}', b"\xef\xbb\xbf{}", b"\xef\xbb\xbf", b"\xef"]
    ),
)


@settings(max_examples=400, deadline=None)
@given(
    parts=st.lists(texts, max_size=4),
    cuts=st.lists(st.integers(0, 500), max_size=8),
    large=st.sampled_from([1, 2, 7, 25]),
)
@example([b"\xef\xbb\xbf {}", b"\xef\xbb\xbf1"], [1, 2, 3, 4], 1)
@example([b" " * 40, b'{"id":1}' + b" " * 40], [5, 45, 60], 7)
def test_it_makes_no_difference_where_a_line_is_held(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], cuts: list[int], large: int
) -> None:
    content = b"\n".join(parts)
    folder = tmp_path_factory.getbasetemp()
    small = items_of(content, [], 10**6, folder)
    found = items_of(content, cuts, large, folder)
    assert [shown_of(item) for item in found] == [shown_of(item) for item in small]
    for item in found:
        if isinstance(item, Unreadable):
            assert "f, line " in item.message
        elif isinstance(item, LargeRecord):
            assert item.size >= large
            item.content.close()


def test_a_long_line_is_a_large_record_and_a_short_value_among_blanks_is_not(
    tmp_path: Path,
) -> None:
    value = b'{"id":"k","x":"%b"}' % (b"x" * 20)
    content = value + b"\n  1234\n" + b" " * 40 + b'{"id":2}\n'
    cuts = [*range(0, len(content), 5)]
    large, unnamed, small = items_of(content, cuts, 20, tmp_path)
    assert isinstance(large, LargeRecord)
    assert (large.key, large.raw, large.size) == ("k", value, len(value))
    assert isinstance(unnamed, Unreadable)
    assert isinstance(small, Record)
    assert small.raw == b'{"id":2}'
    assert list(tmp_path.iterdir()) == [], "a file without a name"


@pytest.mark.parametrize(
    ("line", "reason", "message"),
    [
        (
            b'{"id":1,"x":"aaaaaaaaaaaaaa" 1}',
            "bad_json",
            "the record of 31 bytes is not JSON at its byte 30, a comma or an end was expected",
        ),
        (
            b'{"id":1,"x":"aaaaaaaaaaaaaa\xff"}',
            "bad_utf8",
            "not UTF-8 at byte 28 of the record",
        ),
        (
            b'{"ID":1,"x":"aaaaaaaaaaaaaa"}',
            "missing_key",
            "the record has no field 'id', which source.key names",
        ),
        (
            b"[[[[[[[[1,2,3,4,5,6]]]]]]]]",
            "missing_key",
            "the record is not an object, so it has no field 'id', which source.key names",
        ),
        (
            b'{"id":[1],"x":"aaaaaaaaaaaaa"}',
            "bad_key",
            "the field 'id' is an array or object, a key is text or an integer",
        ),
        (
            b'{"id":1.%b}' % (b"0" * 40),
            "bad_key",
            "the field 'id' is a fraction or beyond 64 bits, a key is text or an integer",
        ),
    ],
)
def test_malformed_json_says_why_and_json_keeps_its_bytes(
    tmp_path: Path, line: bytes, reason: str, message: str
) -> None:
    (item,) = items_of(line + b"\n", [10], 20, tmp_path)
    assert isinstance(item, Unreadable)
    raw = item.raw.read() if isinstance(item.raw, FileSlice) else item.raw
    shown_of = (item.key, item.reason, item.message)
    assert shown_of == ("f:1", reason, f"f, line 1: {message}")
    assert raw == (line if reason in ("missing_key", "bad_key") else b"")


def test_the_file_of_a_value_that_is_no_json_is_closed(tmp_path: Path) -> None:
    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = files()
    value = LargeValue(tmp_path, None, is_first=True)
    value.feed(b"[1")
    assert files() == before + 1
    value.feed(b"x")
    assert files() == before
    value.feed(b"anything")
    assert value.length == 11
    given_up = LargeValue(tmp_path, None, is_first=True)
    given_up.feed(b"[1")
    del given_up
    assert files() == before


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = LargeValue(tmp_path, None, is_first=True)

    def full(file: int, data: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StateError, match=r"cannot be written .*No space left.*Make room there"):
        value.feed(b"[1]")
    with pytest.raises(StateError, match="No such file or directory"):
        LargeValue(tmp_path / "gone", None, is_first=True)
