"""The list of files is what glob finds, each once, sorted; it is made in bounded memory."""

import glob
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.connectors.files import manifest
from dispatcher.connectors.files.globbing import matches
from dispatcher.connectors.files.manifest import Listed, listed, make
from dispatcher.errors import ConfigError
from dispatcher.records.source import Mark

NAMES = ["a", "b.json", ".hidden", "x[1]", "é", "d"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make three levels of folders, each with all names as files and some as folders."""
    root = tmp_path_factory.mktemp("tree")
    folders = [root, *(root / first for first in ("d1", ".h1", "x[2]"))]
    folders += [folder / "d2" for folder in folders[1:]]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for name in NAMES:
            (folder / name).touch()
    (root / "link").symlink_to("a")
    (root / "broken").symlink_to("nothing")
    return root


patterns = st.lists(
    st.one_of(
        st.sampled_from(["*", "**", "a", "d1", "d2", "*.json", ".*", ".h1", "?", "[ab]*", "[!a]*"]),
        st.sampled_from(["x[[]*", "d?", "*e", "é", "**.json", "link", "broken"]),
    ),
    min_size=1,
    max_size=4,
).map("/".join)


@settings(max_examples=400, deadline=None)
@given(pattern=patterns, is_absolute=st.booleans())
def test_the_files_are_those_of_glob(tree: Path, pattern: str, is_absolute: bool) -> None:
    if is_absolute:
        pattern = f"{tree}/{pattern}"
    before = Path.cwd()
    os.chdir(tree)
    try:
        globbed = glob.glob(pattern, recursive=True)  # noqa: PTH207 - it is what is matched
        try:
            found = set(matches(pattern))
        except ConfigError:
            found = set()
        # It also gives a file whose "folder" a pattern such as a/** names.
        expected = {n for n in globbed if not Path(n).is_dir() and not n.endswith("/")}
    finally:
        os.chdir(before)
    assert {os.path.normpath(name) for name in found} == {
        os.path.normpath(name) for name in expected
    }


def test_each_path_is_listed_once_in_order(tree: Path, tmp_path: Path) -> None:
    made = tmp_path / "list"
    for size in (1, 50, 10**6):
        with mock.patch.object(manifest, "_SORTED_BYTES", size):
            make([f"{tree}/d1/*", f"{tree}/**/[ab]*", f"{tree}/a"], made)
        paths = [file.path for file in listed(made)]
        assert paths == sorted(set(paths), key=str.encode)
        assert len(paths) == len(set(matches(f"{tree}/d1/*")) | set(matches(f"{tree}/**/[ab]*")))
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
        files = list(listed(made))
        assert [file.path for file in files] == names
        assert [file.start for file in files] == [0, *(file.end for file in files[:-1])]
        after = data.draw(st.integers(0, len(files) - 1))
        mark = Mark(files[after].end, files[after].number)
        assert list(listed(made, mark)) == files[after + 1 :]
    assert files[0] == Listed(names[0], 0, len(names[0].encode()) + 1, 1)


def test_memory_does_not_follow_the_number_of_files(tmp_path: Path) -> None:
    def names(_: str) -> Iterator[str]:
        return (f"folder/{n % 7}/{n:09d}.jpg" for n in range(60_000))

    with (
        mock.patch.object(manifest, "_SORTED_BYTES", 100_000),
        mock.patch.object(manifest, "_BLOCK_BYTES", 4_096),
        mock.patch.object(manifest, "matches", names),
    ):
        tracemalloc.start()
        try:
            make(["x"], tmp_path / "list")
            for _ in listed(tmp_path / "list"):
                pass
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (tmp_path / "list").stat().st_size == 60_000 * len("folder/1/000000001.jpg\0")
    assert peak < 1_500_000


def test_names_that_are_not_utf8_are_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff")).touch()
    with pytest.raises(ConfigError, match=r"is not UTF-8; rename it"):
        make([f"{tmp_path}/*"], tmp_path / "list")


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    def refused(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    with (
        mock.patch("dispatcher.connectors.files.globbing.os.scandir", refused),
        pytest.raises(ConfigError, match=r"the folder .*/a/ cannot be read \(Permission denied\)"),
    ):
        list(matches(f"{tmp_path}/a/*"))


def test_a_list_that_cannot_be_written_is_told(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written \(No such file or directory\)"):
        make([f"{tree}/a"], tmp_path / "gone" / "list")
