"""A manifest gives back its records, and damaged ones are refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.ledger.invocation import RecordRef, pack_record_refs, unpack_record_refs
from dispatcher.records.record import Position

streams = ["a.jsonl", "b.jsonl", "in/\u00fc \u65e5.jsonl"]
offsets = st.integers(0, 2**62)
keys = st.one_of(st.text(), st.integers(-(2**63), 2**64 - 1))
spans = st.builds(
    lambda stream, start, size, line: Position(stream, start, start + size, line),
    st.sampled_from(streams),
    offsets,
    st.integers(1, 2**62),
    st.integers(1, 2**62),
)
record_refs = st.builds(RecordRef, spans, keys, offsets)


@given(st.lists(record_refs))
def test_a_manifest_gives_back_its_records(packed: list[RecordRef]) -> None:
    numbers = {name: number for number, name in enumerate(streams, 1)}
    names = {number: name for name, number in numbers.items()}
    assert unpack_record_refs(pack_record_refs(packed, numbers), names) == packed


def test_text_that_looks_like_a_number_stays_text() -> None:
    as_text, as_number = (RecordRef(Position("a.jsonl", 0, 1, 1), key, 1) for key in ("7", 7))
    both = unpack_record_refs(
        pack_record_refs([as_text, as_number], {"a.jsonl": 1}), {1: "a.jsonl"}
    )
    assert [record_ref.key for record_ref in both] == ["7", 7]


@pytest.mark.parametrize(
    "record_ref",
    [
        RecordRef(Position("a.jsonl", 5, 5, 1), "empty", 1),
        RecordRef(Position("a.jsonl", -1, 5, 1), "before the start", 1),
        RecordRef(Position("a.jsonl", 0, 5, 0), "no line", 1),
        RecordRef(Position("a.jsonl", 0, 5, 1), "less than nothing", -1),
    ],
)
def test_what_cannot_be_a_record_is_not_unpacked(record_ref: RecordRef) -> None:
    with pytest.raises(ValueError, match="there is no record at"):
        unpack_record_refs(pack_record_refs([record_ref], {"a.jsonl": 1}), {1: "a.jsonl"})


@given(st.binary(max_size=60))
def test_random_bytes_are_a_manifest_or_an_error_that_readers_expect(manifest: bytes) -> None:
    with suppress(KeyError, TypeError, ValueError):
        assert isinstance(unpack_record_refs(manifest, {1: "a.jsonl"}), list)
