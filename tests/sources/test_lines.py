"""Blocks become lines, however they are cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.sources.lines import LineSplitter, TooLong


def split(blocks: list[bytes], longest: int = 100) -> list[bytes | TooLong]:
    splitter = LineSplitter(longest)
    lines: list[bytes | TooLong] = []
    for block in blocks:
        for piece in splitter.feed(block):
            lines += [piece] if isinstance(piece, TooLong) else piece
    for piece in splitter.end():
        lines += [piece] if isinstance(piece, TooLong) else piece
    return lines


def test_lines_that_end_in_a_block_come_with_it() -> None:
    splitter = LineSplitter(100)
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


def test_a_long_line_is_not_held_in_memory() -> None:
    splitter = LineSplitter(1000)
    for _ in range(10_000):
        assert list(splitter.feed(b"x" * 1000)) == []
        assert sum(map(len, splitter._parts)) <= 1000
    assert splitter.held == 10_000_000
    assert list(splitter.feed(b"\nrest\n")) == [TooLong(10_000_000), [b"rest"]]


@given(content=st.binary(max_size=200).map(lambda b: b.replace(b"x", b"\n")), data=st.data())
def test_the_cut_of_the_blocks_changes_nothing(content: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    edges = [0, *cuts, len(content)]
    blocks = [content[a:b] for a, b in pairwise(edges)]
    whole = content.split(b"\n")
    if not whole[-1]:
        whole.pop()
    assert split(blocks, longest=1000) == whole
