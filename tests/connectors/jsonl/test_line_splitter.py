"""Blocks become lines, however they are cut."""

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.connectors.jsonl.line_splitter import LineSplitter, TooLong
from dispatcher.flow.content import LARGE_BYTES, FileSlice
from dispatcher.records.large_value import LargeValue


def splitter_of(longest: int) -> LineSplitter:
    return LineSplitter(longest, lambda first: LargeValue(Path("/tmp"), None, is_first=first))


def split(blocks: list[bytes], longest: int = 100) -> list[bytes | TooLong]:
    splitter = splitter_of(longest)
    lines: list[bytes | TooLong] = []
    for piece in (*(p for block in blocks for p in splitter.feed(block)), *splitter.end()):
        assert not isinstance(piece, LargeValue)
        lines += [piece] if isinstance(piece, TooLong) else piece
    return lines


def test_lines_that_end_in_a_block_come_with_it() -> None:
    splitter = splitter_of(100)
    assert list(splitter.feed(b"a\nb\nc")) == [[b"a", b"b"]]
    assert splitter.held == 1
    assert list(splitter.feed(b"d")) == []
    assert list(splitter.feed(b"e\n")) == [[b"cde"]]
    assert list(splitter.end()) == []


def test_the_last_line_needs_no_break() -> None:
    assert split([b"a\n", b"b"]) == [b"a", b"b"]


def test_a_line_longer_than_allowed_is_measured_and_dropped() -> None:
    assert split([b"a\n123", b"45678", b"9\nb"], longest=5) == [b"a", TooLong(9), b"b"]
    assert split([b"123456", b"7"], longest=5) == [TooLong(7)]


def test_a_line_that_is_too_long_is_not_held_in_memory() -> None:
    splitter = splitter_of(1000)
    for _ in range(10_000):
        assert list(splitter.feed(b"x" * 1000)) == []
        assert sum(map(len, splitter._parts)) <= 1000
    assert splitter.held == 10_000_000
    assert list(splitter.feed(b"\nrest\n")) == [TooLong(10_000_000), [b"rest"]]


def test_a_long_line_goes_on_outside_of_memory() -> None:
    splitter, begun = splitter_of(80_000_000), list[bool]()

    def begin(first: bool) -> LargeValue:
        begun.append(first)
        return LargeValue(Path("/tmp"), None, is_first=first)

    splitter._begin = begin
    block = b"1" * 1_000_000
    assert list(splitter.feed(b'"' + block)) == []
    for _ in range(40):
        assert list(splitter.feed(block)) == []
        assert sum(map(len, splitter._parts)) < LARGE_BYTES
    (value, rest) = splitter.feed(b'"\nrest\n')
    assert isinstance(value, LargeValue)
    assert value.length == 41_000_002
    blob = value.end()
    assert isinstance(blob, FileSlice)
    assert blob.size == 41_000_002
    assert (rest, begun) == ([b"rest"], [True])
    for _ in range(81):
        assert list(splitter.feed(block)) == []
    assert list(splitter.feed(b"\n")) == [TooLong(81_000_000)]
    assert begun == [True, False]


@given(content=st.binary(max_size=200).map(lambda b: b.replace(b"x", b"\n")), data=st.data())
def test_the_cut_of_the_blocks_changes_nothing(content: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    edges = [0, *cuts, len(content)]
    blocks = [content[a:b] for a, b in pairwise(edges)]
    whole = content.split(b"\n")
    if not whole[-1]:
        whole.pop()
    assert split(blocks, longest=1000) == whole
