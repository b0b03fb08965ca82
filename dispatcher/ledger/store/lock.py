"""Lock file beside a ledger: one process at a time holds it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dispatcher.errors import StateError


@contextmanager
def lock(ledger: Path) -> Iterator[None]:
    """Hold a ledger for this process; the system releases it however the process ends.

    Raises:
        StateError: Another process holds it.
    """
    file = os.open(_path(ledger), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _try_lock(file):
            owner = os.read(file, 20).decode("ascii", "replace").strip() or "unknown"
            raise StateError(
                f"the ledger {ledger} is in use by process {owner}. Wait for that run or stop it; "
                "for a second run of its own name another file in ledger.path"
            )
        os.ftruncate(file, 0)
        os.write(file, b"%d\n" % os.getpid())
        yield
    finally:
        os.close(file)


def is_locked(ledger: Path) -> bool:
    """Return whether a process holds a ledger now."""
    try:
        file = os.open(_path(ledger), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _try_lock(file: int) -> bool:
    # A reader (is_locked) holds it for a moment: one refusal proves nothing yet.
    for pause in (0.005, 0.05, None):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if pause is not None:
                time.sleep(pause)
        else:
            return True
    return False


def _path(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".lock")
