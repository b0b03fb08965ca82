"""The journal of accepted invocations."""

from pathlib import Path
from typing import Any

import pytest

from dispatcher.emulator.sagemaker.accepted_log import AcceptedLog
from dispatcher.emulator.state.journal import Journal


def test_journal_of_invocations_forgets_the_settled(tmp_path: Path, make_invocation: Any) -> None:
    accepted = AcceptedLog(tmp_path / "a")
    invocations = [make_invocation(body=bytes(1000)) for _ in range(100)]
    for invocation in invocations:
        accepted.add(invocation)
    for invocation in invocations[10:]:
        accepted.settle(invocation.serial)
    accepted.close()
    again = AcceptedLog(tmp_path / "a")
    assert again.unsettled() == invocations[:10]
    assert again.next_serial == 11
    assert (tmp_path / "a").stat().st_size < 15_000
    again.close()


def test_journal_of_invocations_is_compacted_while_running(
    tmp_path: Path, make_invocation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.emulator.sagemaker.accepted_log._COMPACT_BYTES", 100_000)
    accepted = AcceptedLog(tmp_path / "a")
    stays = make_invocation()
    accepted.add(stays)
    for _ in range(1000):
        invocation = make_invocation(body=bytes(1000))
        accepted.add(invocation)
        accepted.settle(invocation.serial)
        assert (tmp_path / "a").stat().st_size < 110_000
    assert accepted.unsettled() == [stays]
    accepted.close()


def test_many_open_invocations_cost_no_rewrite_each(
    tmp_path: Path, make_invocation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = AcceptedLog(tmp_path / "a")
    monkeypatch.setattr("dispatcher.emulator.sagemaker.accepted_log._COMPACT_BYTES", 1000)
    rewritten: list[int] = []
    rewrite = Journal.rewrite

    def counted(journal: Journal, entries: Any) -> None:
        rewritten.append(journal.size)
        rewrite(journal, entries)

    monkeypatch.setattr(Journal, "rewrite", counted)
    # Staged ones have no body, but they have an entry.
    invocations = [make_invocation(body=b"", input_location="s3://b/k") for _ in range(500)]
    for invocation in invocations:
        accepted.add(invocation)
    for invocation in invocations[:300]:
        accepted.settle(invocation.serial)
    assert rewritten == []
    accepted.close()
