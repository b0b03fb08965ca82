"""Folders whose names survive a power loss: what is synced in them is lost without its name."""

import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder with those around it; their names survive a power loss."""
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
