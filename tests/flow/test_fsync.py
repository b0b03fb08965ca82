"""Each new folder is synced in its parent, or a power loss takes the name with all below it."""

import os
from pathlib import Path

import pytest

from dispatcher.flow.fsync import make_folder, sync_folder


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the folders that are synced, in order."""
    folders: list[Path] = []

    def fsync(file: int) -> None:
        folders.append(Path(f"/proc/self/fd/{file}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)
    return folders


def test_new_folders_are_synced_from_the_top(tmp_path: Path, synced: list[Path]) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


def test_a_folder_that_exists_costs_nothing(tmp_path: Path, synced: list[Path]) -> None:
    make_folder(tmp_path)
    assert synced == []


def test_the_folder_is_closed_also_when_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
