"""A manifest gives back its records."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.ledger.intent import Slip, pack_slips, unpack_slips
from dispatcher.sources.record import Position

streams = ["a.jsonl", "b.jsonl", "in/\u00fc \u65e5.jsonl"]
offsets = st.integers(0, 2**63 - 1)
keys = st.one_of(st.text(), st.integers(-(2**63), 2**64 - 1))
slips = st.builds(
    Slip, st.builds(Position, st.sampled_from(streams), offsets, offsets, offsets), keys, offsets
)


@given(st.lists(slips))
def test_a_manifest_gives_back_its_records(packed: list[Slip]) -> None:
    numbers = {name: number for number, name in enumerate(streams, 1)}
    names = {number: name for name, number in numbers.items()}
    assert unpack_slips(pack_slips(packed, numbers), names) == packed


def test_text_that_looks_like_a_number_stays_text() -> None:
    as_text, as_number = (Slip(Position("a.jsonl", 0, 1, 1), key, 1) for key in ("7", 7))
    both = unpack_slips(pack_slips([as_text, as_number], {"a.jsonl": 1}), {1: "a.jsonl"})
    assert [slip.key for slip in both] == ["7", 7]
