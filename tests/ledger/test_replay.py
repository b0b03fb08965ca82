"""The replay filter recognises each record of a source that is read again."""

from dataclasses import dataclass
from random import Random
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from dispatcher.ledger.invocation import Entry, Planned, RecordRef, SpoolRef
from dispatcher.ledger.replay import ReplayFilter, Seen
from dispatcher.ledger.watermark import Watermark
from dispatcher.records.record import Position
from dispatcher.records.source import START, Mark

STREAMS = ("a", "b")
Fate = Literal["settled", "outstanding", "lost", "forgotten"]
FATES: list[Fate] = ["settled", "settled", "outstanding", "lost", "forgotten"]


@dataclass
class History:
    """Records of each stream with what became of them, and more that were not read yet."""

    spans: dict[str, list[Position]]
    fates: dict[str, list[Fate]]
    rng: Random

    def marks(self) -> dict[str, Watermark]:
        marks = {}
        for stream, fates in self.fates.items():
            settled = [n for n, fate in enumerate(fates) if fate == "settled"]
            self.rng.shuffle(settled)
            if settled:
                marks[stream] = Watermark()
                for number in settled:
                    marks[stream].settle(self.spans[stream][number])
        return marks

    def entries(self) -> list[Entry]:
        """Put what is outstanding into invocations of up to four records, across streams."""
        entries: list[Entry] = []
        for wanted in ("outstanding", "lost"):
            there = [
                RecordRef(self.spans[stream][number], number, 1)
                for stream, fates in self.fates.items()
                for number, fate in enumerate(fates)
                if fate == wanted
            ]
            self.rng.shuffle(there)
            ref = SpoolRef(1, 0, 1, 0) if wanted == "outstanding" else None
            while there:
                count = self.rng.randint(1, 4)
                planned = Planned(len(entries) + 1, "id", "shard", "text", "inline", 1)
                entries.append(Entry(planned, there[:count], ref, 0, 0.0))
                there = there[count:]
        return entries


@st.composite
def histories(draw: DrawFn) -> History:
    spans: dict[str, list[Position]] = {}
    fates: dict[str, list[Fate]] = {}
    for stream in STREAMS:
        sizes = draw(st.lists(st.integers(1, 9), max_size=15))
        start = 0
        spans[stream] = []
        for line, size in enumerate(sizes, 1):
            spans[stream].append(Position(stream, start, start + size, line))
            start += size
        read = draw(st.integers(0, len(sizes)))
        some = st.sampled_from(FATES)
        fates[stream] = draw(st.lists(some, min_size=read, max_size=read))
    return History(spans, fates, Random(draw(st.integers(0, 1_000))))


@given(histories())
def test_every_record_behind_the_mark_is_recalled(history: History) -> None:
    marks, entries = history.marks(), history.entries()
    replay = ReplayFilter.of(marks, entries)
    owners = {(s.position.stream, s.position.start): e for e in entries for s in e.record_refs}
    for stream, spans in history.spans.items():
        mark = marks[stream].mark.offset if stream in marks else 0
        for number, span in enumerate(spans):
            if span.start < mark:
                continue
            known, entry = replay.look_up(span)
            if span.start < replay.frontiers.get(stream, START).offset:
                assert known is Seen.BEHIND
                continue
            fates = history.fates[stream]
            expected = {
                "settled": Seen.SETTLED,
                "outstanding": Seen.OUTSTANDING,
                "lost": Seen.LOST,
                "forgotten": Seen.NEW,
            }[fates[number] if number < len(fates) else "forgotten"]
            assert known is expected
            assert entry is owners.get((stream, span.start))


@given(histories())
def test_the_frontier_lies_behind_all_that_is_at_hand_and_before_anything_that_is_not(
    history: History,
) -> None:
    replay = ReplayFilter.of(history.marks(), history.entries())
    for stream, fates in history.fates.items():
        at_hand = [fate in ("settled", "outstanding") for fate in fates]
        first = at_hand.index(False) if False in at_hand else len(fates)
        spans = history.spans[stream]
        expected = Mark(spans[first - 1].end, spans[first - 1].line) if first else START
        assert replay.frontiers.get(stream, START) == expected


@given(histories())
def test_heads_are_where_everything_becomes_new(history: History) -> None:
    replay = ReplayFilter.of(history.marks(), history.entries())
    for stream, fates in history.fates.items():
        kept = [
            s for s, fate in zip(history.spans[stream], fates, strict=False) if fate != "forgotten"
        ]
        assert replay.heads.get(stream, 0) == max((span.end for span in kept), default=0)


def test_asking_does_not_disturb_the_ledger() -> None:
    spans = [Position("a", n * 5, n * 5 + 5, n + 1) for n in range(6)]
    watermark = Watermark()
    for number in (1, 3, 4):
        watermark.settle(spans[number])
    replay = ReplayFilter.of({"a": watermark}, [])
    assert [replay.look_up(span)[0] for span in spans] == [
        Seen.NEW,
        Seen.SETTLED,
        Seen.NEW,
        Seen.SETTLED,
        Seen.SETTLED,
        Seen.NEW,
    ]
    assert watermark.spans() == [(5, 10, 2), (15, 25, 5)]


def test_an_empty_ledger_knows_nothing() -> None:
    replay = ReplayFilter.of({}, [])
    assert replay.look_up(Position("a", 0, 5, 1)) == (Seen.NEW, None)


def test_a_record_with_another_extent_is_not_what_was_read() -> None:
    """A last line that was cut off by its writer, read, and then continued."""
    marks = {"a": Watermark()}
    marks["a"].settle(Position("a", 16, 23, 3))
    ref, planned = SpoolRef(1, 0, 1, 0), Planned(1, "id", "shard", "text", "inline", 1)
    entries = [
        Entry(planned, [RecordRef(Position("a", 1, 8, 1), 1, 1)], ref, 0, 0.0),
        Entry(planned, [RecordRef(Position("a", 23, 30, 4), 4, 1)], ref, 0, 0.0),
    ]
    replay = ReplayFilter.of(marks, entries)
    assert replay.look_up(Position("a", 1, 8, 1))[0] is Seen.OUTSTANDING
    assert replay.look_up(Position("a", 16, 46, 3))[0] is Seen.CHANGED
    assert replay.look_up(Position("a", 23, 46, 3))[0] is Seen.CHANGED
