"""One process holds a ledger, and readers do not disturb it."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from dispatcher.errors import StateError
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.store.lock import is_locked, lock

HOLD = """
import sys
from pathlib import Path
from dispatcher.ledger.store.lock import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def enter(path: Path) -> None:
    with lock(path):
        pass


async def test_a_second_process_learns_which_one_holds_the_ledger(
    run: Callable[..., AbstractAsyncContextManager[Ledger]], path: Path
) -> None:
    path.parent.mkdir()
    with subprocess.Popen(  # noqa: ASYNC220 - the loop has nothing else to do
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert is_locked(path)
        with pytest.raises(StateError, match=f"in use by process {other.pid}. Wait for that run"):
            async with run():
                pytest.fail("two processes hold one ledger")
        other.kill()
    assert not is_locked(path)
    async with run() as ledger:
        assert ledger.is_new
        assert is_locked(path)


def test_the_same_process_does_not_get_it_twice_and_gets_it_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with lock(path), pytest.raises(StateError, match=f"process {os.getpid()}"):
        enter(path)
    enter(path)
    assert not is_locked(path)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "ledger.db")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_does_not_keep_a_run_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    enter(path)
    looker = os.open(tmp_path / "ledger.db.lock", os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH | fcntl.LOCK_NB)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        os.close(looker)

    monkeypatch.setattr("dispatcher.ledger.store.lock.time.sleep", pause)
    enter(path)
    assert len(pauses) == 1
