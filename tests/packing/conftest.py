"""Records that are not held in memory."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatcher.flow.content import FileSlice
from dispatcher.records.record import LargeRecord, Position

Making = Callable[[bytes], LargeRecord]


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Making]:
    opened: list[FileSlice] = []

    def make(content: bytes) -> LargeRecord:
        path = tmp_path / f"large-{len(opened)}"
        path.write_bytes(content)
        file = os.open(path, os.O_RDONLY)
        opened.append(FileSlice(file, 0, len(content)))
        return LargeRecord(Position("f", 0, 1, 1), "large", opened[-1])

    yield make
    for content in opened:
        content.close()
