"""A tree of files for patterns to match."""

from pathlib import Path

import pytest

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
