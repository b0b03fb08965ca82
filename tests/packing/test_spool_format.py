"""Spooled records: cut again without a byte lost, whatever wrote them."""

import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.flow.content import FileSlice
from dispatcher.packing.spool_format import (
    crc32_of,
    cut_records,
    join_records,
    spans,
    spooled_before,
)


@pytest.mark.parametrize("sizes", [[0], [1, 1, 1], [1, 2]])
def test_sizes_of_other_records_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="do not hold"):
        cut_records(join_records([b"1", b"2"]), sizes)


raws = st.lists(st.binary(max_size=20), min_size=1, max_size=10)


@given(raws=raws)
def test_records_are_cut_as_they_were_joined(raws: list[bytes]) -> None:
    assert cut_records(join_records(raws), [len(raw) for raw in raws]) == raws


@given(raws=raws)
def test_records_read_again_give_the_spooled_bytes(raws: list[bytes]) -> None:
    spooled = join_records(raws)
    assert spooled_before(raws, len(spooled)) == spooled


def test_records_of_an_old_ledger_have_their_brackets() -> None:
    spooled = b"[1,22]"
    assert spooled_before([b"1", b"22"], len(spooled)) == spooled
    assert cut_records(spooled, [1, 2]) == [b"1", b"22"]
    assert spans(len(spooled), [1, 2]) == [(1, 2), (3, 5)]


def test_the_checksum_of_a_large_record_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"..12345..")
    content = FileSlice(os.open(path, os.O_RDONLY), 2, 5)
    try:
        assert spooled_before([content], 5) is content
        assert crc32_of(content) == crc32_of(b"12345") == zlib.crc32(b"12345")
    finally:
        content.close()
