"""Folders and names that survive a power loss: a synced file is lost without its name."""

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, so that their names survive a power loss."""
    if folder.exists():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
