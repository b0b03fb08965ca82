"""A record has the same size and bytes whether it is held in memory or as a slice of a file."""

import os
from pathlib import Path

from dispatcher.flow.content import FileSlice
from dispatcher.records.record import LargeRecord, Position, Record


def test_size_and_bytes_do_not_depend_on_where_a_record_is_held(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"..[1,2]..")
    position = Position("f", 0, 6, 1)
    content = FileSlice(os.open(path, os.O_RDONLY), 2, 5)
    record, large = Record(position, "k", b"[1,2]"), LargeRecord(position, "k", content)
    assert (record.size, record.raw) == (large.size, large.raw) == (5, b"[1,2]")
    content.close()
