"""The journal: torn tails, full disks, rewriting."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dispatcher.emulator.state.journal import Journal


def test_journal_takes_back_half_an_entry(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(["a"])
    with full_disk(), pytest.raises(OSError, match="No space"):
        journal.append(["b" * 100])
    journal.append(["c"])
    assert list(journal.entries()) == [["a"], ["c"]]
    assert journal.size == (tmp_path / "j").stat().st_size
    journal.close()


def test_journal_survives_a_rewrite_that_fails(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(["a"])
    with full_disk(), pytest.raises(OSError, match="No space"):
        journal.rewrite([["b" * 100]])
    journal.append(["c"])
    assert list(journal.entries()) == [["a"], ["c"]]
    assert journal.size == (tmp_path / "j").stat().st_size
    journal.close()


def test_journal_cuts_a_torn_tail_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path)
    entries = [["a", 1], ["b", b"x" * 1000], ["c", None]]
    for entry in entries:
        journal.append(entry)
    journal.close()
    whole = path.read_bytes()
    for cut in range(len(whole) - 3, len(whole)):
        path.write_bytes(whole[:cut])
        torn = Journal(path)
        assert list(torn.entries()) == entries[:2]
        torn.append(["d"])
        assert list(torn.entries()) == [*entries[:2], ["d"]]
        torn.close()


def test_journal_rewrite_replaces_all(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for n in range(100):
        journal.append([n])
    journal.rewrite([[1], [2]])
    journal.append([3])
    assert list(journal.entries()) == [[1], [2], [3]]
    assert journal.size == (tmp_path / "j").stat().st_size
    journal.close()
