"""Settled spans merge into a mark and ranges, and what is stored is what is in memory."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from dispatcher.ledger.watermark import Change, Watermark
from dispatcher.ledger.watermark import adjoining as merged
from dispatcher.records.record import Position
from dispatcher.records.source import START, Mark


@dataclass
class Stored:
    """The two tables of one stream, moved by nothing but changes."""

    mark: Mark = START
    ranges: dict[int, tuple[int, int]] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        for start in change.removed:
            del self.ranges[start]  # only what is stored may be taken away
        for start, end, line in change.ranges:
            self.ranges[start] = (end, line)
        if change.mark is not None:
            self.mark = change.mark

    def load(self) -> Watermark:
        watermark = Watermark(self.mark)
        for start, (end, line) in sorted(self.ranges.items()):
            watermark.load(start, end, line)
        return watermark


class Naive:
    """Every span remembered for itself."""

    def __init__(self, spans: list[Position]) -> None:
        self.spans = spans
        self.settled: set[int] = set()

    def mark(self) -> Mark:
        mark = START
        for number, span in enumerate(self.spans):
            if number not in self.settled:
                break
            mark = Mark(span.end, span.line)
        return mark

    def ranges(self) -> dict[int, tuple[int, int]]:
        ranges: dict[int, tuple[int, int]] = {}
        begin: int | None = None
        for number, span in enumerate(self.spans):
            if number not in self.settled:
                begin = None
                continue
            begin = span.start if begin is None else begin
            ranges[begin] = (span.end, span.line)
        return {start: end for start, end in ranges.items() if start >= self.mark().offset}


def adjoining(sizes: list[int]) -> list[Position]:
    spans = []
    start = line = 0
    for size in sizes:
        line += 1 + size % 3
        spans.append(Position("s", start, start + size, line))
        start += size
    return spans


@st.composite
def histories(draw: DrawFn) -> tuple[list[Position], list[int | str]]:
    """Spans in any order of settling, with commits and crashes in between."""
    spans = adjoining(draw(st.lists(st.integers(1, 20), min_size=1, max_size=25)))
    order: list[int | str] = list(draw(st.permutations(range(len(spans)))))
    order = order[: draw(st.integers(0, len(order)))]
    for _ in range(draw(st.integers(0, 8))):
        word = draw(st.sampled_from(["commit", "crash"]))
        order.insert(draw(st.integers(0, len(order))), word)
    return spans, order


def agree(watermark: Watermark, naive: Naive) -> None:
    ranges = naive.ranges()
    assert watermark.mark == naive.mark()
    assert watermark.spans() == [(s, *ranges[s]) for s in sorted(ranges)]
    assert watermark.ranges == len(ranges)
    settled_ends = [naive.spans[n].end for n in naive.settled]
    assert watermark.head == max(settled_ends, default=0)
    for number, span in enumerate(naive.spans):
        for offset in (span.start, span.end - 1):
            assert watermark.covers(offset) == (number in naive.settled)


@given(histories())
def test_any_order_of_settling_commits_and_crashes_equals_the_naive_model(
    history: tuple[list[Position], list[int | str]],
) -> None:
    spans, steps = history
    naive, stored, watermark = Naive(spans), Stored(), Watermark()
    durable: set[int] = set()
    for step in steps:
        if step == "crash":
            naive.settled = set(durable)
            watermark = stored.load()
        elif step == "commit":
            stored.apply(watermark.changes())
            durable = set(naive.settled)
            assert (stored.mark, stored.ranges) == (naive.mark(), naive.ranges())
        elif isinstance(step, int) and step not in naive.settled:
            watermark.settle(spans[step])
            naive.settled.add(step)
        agree(watermark, naive)
    stored.apply(watermark.changes())
    assert (stored.mark, stored.ranges) == (naive.mark(), naive.ranges())
    agree(stored.load(), naive)


@given(histories())
def test_nothing_is_settled_twice(history: tuple[list[Position], list[int | str]]) -> None:
    spans, steps = history
    watermark = Watermark()
    numbers = [step for step in steps if isinstance(step, int)]
    for number in numbers:
        watermark.settle(spans[number])
    before = (watermark.mark, watermark.spans())
    for number in numbers:
        with pytest.raises(ValueError, match="is settled already"):
            watermark.settle(spans[number])
    assert (watermark.mark, watermark.spans()) == before


@given(histories())
def test_ranges_are_bounded_by_gaps(history: tuple[list[Position], list[int | str]]) -> None:
    spans, steps = history
    watermark = Watermark()
    settled: set[int] = set()
    for number in (step for step in steps if isinstance(step, int)):
        watermark.settle(spans[number])
        settled.add(number)
        gaps = sum(
            1
            for n in range(max(settled))
            if n not in settled and n + 1 in settled  # the last record of each gap
        )
        assert watermark.ranges == gaps


def test_a_second_look_finds_no_changes() -> None:
    watermark = Watermark()
    for span in adjoining([5, 5, 5, 5])[1::2]:
        watermark.settle(span)
    assert watermark.changes() == Change(None, [], [(5, 10, 6), (15, 20, 12)])
    assert watermark.changes() == Change(None, [], [])


def test_a_stored_range_that_is_overtaken_is_removed_and_one_never_stored_is_not() -> None:
    first, second, third = adjoining([5, 5, 5])
    watermark = Watermark()
    watermark.settle(second)
    watermark.changes()
    watermark.settle(third)
    watermark.settle(first)
    assert watermark.changes() == Change(Mark(15, third.line), [5], [])

    watermark = Watermark()
    watermark.settle(second)
    watermark.settle(first)
    assert watermark.changes() == Change(Mark(10, second.line), [], [])
    assert watermark.ranges == 0


def test_one_stuck_record_among_many_leaves_one_range() -> None:
    spans = adjoining([7] * 10_000)
    watermark = Watermark()
    for span in spans[1:]:
        watermark.settle(span)
    assert watermark.ranges == 1
    watermark.settle(spans[0])
    assert watermark.ranges == 0
    assert watermark.mark.offset == 70_000


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6), st.integers(1, 3)), max_size=12)
)
def test_neighbours_become_one_span_and_nothing_else_does(
    pieces: list[tuple[str, int, int]],
) -> None:
    positions = [Position(name, at, at + size, at + size) for name, at, size in pieces]
    spans = merged(positions)
    covered = [(p.stream, byte) for p in positions for byte in range(p.start, p.end)]
    assert [(s.stream, byte) for s in spans for byte in range(s.start, s.end)] == covered
    assert all((one.stream, one.end) != (two.stream, two.start) for one, two in pairwise(spans))
    assert all(span.line == span.end for span in spans)
    assert positions == [Position(name, at, at + size, at + size) for name, at, size in pieces]


@pytest.mark.parametrize("start", [0, 5, 10, 15])
def test_a_span_over_what_is_settled_is_refused(start: int) -> None:
    watermark = Watermark()
    watermark.settle(Position("s", 10, 20, 2))
    with pytest.raises(ValueError, match="is settled already"):
        watermark.settle(Position("s", start, 30, 3))
    assert (watermark.mark, watermark.spans()) == (START, [(10, 20, 2)])
