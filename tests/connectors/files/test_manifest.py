"""The manifest holds each file that the patterns match once, sorted; it takes bounded memory."""

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.connectors.files import manifest
from dispatcher.connectors.files.globbing import matching_files
from dispatcher.connectors.files.manifest import ManifestEntry, read_manifest, write_manifest
from dispatcher.errors import ConfigError
from dispatcher.records.source import Mark


def test_each_path_is_listed_once_in_order(tree: Path, tmp_path: Path) -> None:
    made = tmp_path / "list"
    for size in (1, 50, 10**6):
        with mock.patch.object(manifest, "_SORTED_BYTES", size):
            write_manifest([f"{tree}/d1/*", f"{tree}/**/[ab]*", f"{tree}/a"], made)
        paths = [file.path for file in read_manifest(made)]
        assert paths == sorted(set(paths), key=str.encode)
        assert len(paths) == len(
            set(matching_files(f"{tree}/d1/*")) | set(matching_files(f"{tree}/**/[ab]*"))
        )
    assert [path.name for path in tmp_path.iterdir()] == ["list"]


@given(
    names=st.lists(st.text("aé\n/", min_size=1, max_size=9), min_size=1, max_size=30),
    block=st.integers(1, 20),
    data=st.data(),
)
def test_it_is_read_on_from_any_mark(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], block: int, data: st.DataObject
) -> None:
    made = tmp_path_factory.getbasetemp() / "read-on"
    made.write_bytes(b"".join(name.encode() + b"\0" for name in names))
    with mock.patch.object(manifest, "_BLOCK_BYTES", block):
        files = list(read_manifest(made))
        assert [file.path for file in files] == names
        assert [file.start for file in files] == [0, *(file.end for file in files[:-1])]
        after = data.draw(st.integers(0, len(files) - 1))
        mark = Mark(files[after].end, files[after].number)
        assert list(read_manifest(made, mark)) == files[after + 1 :]
    assert files[0] == ManifestEntry(
        path=names[0], start=0, end=len(names[0].encode()) + 1, number=1
    )


def test_memory_does_not_follow_the_number_of_files(tmp_path: Path) -> None:
    def names(_: str) -> Iterator[str]:
        return (f"folder/{n % 7}/{n:09d}.jpg" for n in range(60_000))

    with (
        mock.patch.object(manifest, "_SORTED_BYTES", 100_000),
        mock.patch.object(manifest, "_BLOCK_BYTES", 4_096),
        mock.patch.object(manifest, "matching_files", names),
    ):
        tracemalloc.start()
        try:
            write_manifest(["x"], tmp_path / "list")
            for _ in read_manifest(tmp_path / "list"):
                pass
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (tmp_path / "list").stat().st_size == 60_000 * len("folder/1/000000001.jpg\0")
    assert peak < 1_500_000


def test_names_that_are_not_utf8_are_reported(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff")).touch()
    with pytest.raises(ConfigError, match=r"is not UTF-8; rename it"):
        write_manifest([f"{tmp_path}/*"], tmp_path / "list")


def test_a_list_that_cannot_be_written_is_reported(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written \(No such file or directory\)"):
        write_manifest([f"{tree}/a"], tmp_path / "gone" / "list")
