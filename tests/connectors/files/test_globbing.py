"""A pattern matches what glob matches, with a folder read entry by entry."""

import glob
import os
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.connectors.files.globbing import matching_files
from dispatcher.errors import ConfigError

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
            found = set(matching_files(pattern))
        except ConfigError:
            found = set()
        # It also gives a file whose "folder" a pattern such as a/** names.
        expected = {n for n in globbed if not Path(n).is_dir() and not n.endswith("/")}
    finally:
        os.chdir(before)
    assert {os.path.normpath(name) for name in found} == {
        os.path.normpath(name) for name in expected
    }


def test_a_folder_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    def refused(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    with (
        mock.patch("dispatcher.connectors.files.globbing.os.scandir", refused),
        pytest.raises(ConfigError, match=r"the folder .*/a/ cannot be read \(Permission denied\)"),
    ):
        list(matching_files(f"{tmp_path}/a/*"))
