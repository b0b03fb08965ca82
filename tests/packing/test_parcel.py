"""A parcel's size and the bytes that the ledger spools for it, with and without a payload."""

import os
from pathlib import Path

from dispatcher.flow.content import FileSlice
from dispatcher.packing.parcel import Parcel, sent_bytes, spooled_of
from dispatcher.records.record import LargeRecord, Position
from tests.packing.parcels import records


def test_a_payload_that_is_spooled_as_it_is_stands_for_both() -> None:
    parcel = Parcel(records([b"1", b"2"]), b"1\n2", "application/jsonlines", "inline")
    assert (spooled_of(parcel), sent_bytes(parcel)) == (b"1\n2", 3)


def test_a_payload_in_another_format_is_spooled_as_its_records() -> None:
    parcel = Parcel(records([b"1", b"2"]), b"[1,2]", "application/json", "inline", spooled=b"1\n2")
    assert (spooled_of(parcel), sent_bytes(parcel)) == (b"1\n2", 5)


def test_a_payload_that_is_made_later_has_the_size_of_its_record(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"12345")
    content = FileSlice(os.open(path, os.O_RDONLY), 0, 5)
    record = LargeRecord(Position("f", 0, 6, 1), "large", content)
    parcel = Parcel([record], b"", "application/json", "s3", "json", content)
    assert spooled_of(parcel) is content
    assert sent_bytes(parcel) == 5
    content.close()
