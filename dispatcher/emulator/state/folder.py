"""The state folder: marked by a file in it, and locked by one process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dispatcher.errors import ConfigError, StateError

MARKER = "EMULATOR"
"""Marker file: everything in its folder belongs to the emulator, which may delete it."""

_CONTENT = b"dispatcher emulator state, format 1\n"


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder for this process; the system unlocks it however the process ends.

    A new or empty folder is marked as the emulator's. One that holds anything else than the
    emulator's own state is left as it is.

    Args:
        folder: Made where it does not exist.

    Raises:
        ConfigError: Another process holds it.
        StateError: It cannot be used, or is not the emulator's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / MARKER).exists():
            raise _not_ours(folder)
        file = os.open(folder / MARKER, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"The emulator's state folder {folder} is in use by another process, a "
                "`dispatcher run` or `dispatcher emulate`. Wait for it or stop it, or set "
                "emulator.state to another folder."
            ) from None
        try:
            _mark(folder, file)
        except OSError as error:
            raise _unusable(folder, error) from error
        yield
    finally:
        os.close(file)


def _mark(folder: Path, file: int) -> None:
    content = os.read(file, len(_CONTENT) + 1)
    if content == _CONTENT:
        return
    # A kill may have come between making and writing the marker; then nothing else is there.
    if not _CONTENT.startswith(content) or any(p.name != MARKER for p in folder.iterdir()):
        raise _not_ours(folder)
    os.pwrite(file, _CONTENT, 0)


def _not_ours(folder: Path) -> StateError:
    return StateError(
        f"The folder {folder} holds files that are not of this version of the emulator; they are "
        "left alone. Set emulator.state to a new or empty folder."
    )


def _unusable(folder: Path, error: OSError) -> StateError:
    return StateError(
        f"The emulator's state folder {folder} cannot be used ({error.strerror}). "
        "Mend its permissions, or set emulator.state to another folder."
    )
