"""Messages of a queue that a run has seen, so that it recognises them when they come again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from dispatcher.ledger.group_commit import GroupCommit
from dispatcher.ledger.operations import Forget
from dispatcher.ledger.replay import ReplayFilter
from dispatcher.ledger.store.sqlite import SqliteStore
from dispatcher.records.record import Position


@dataclass(slots=True, kw_only=True)
class LedgerMessageLog:
    """The messages of one queue; a ``dispatcher.records.source.MessageLog``.

    Attributes:
        next_number: The first number that no record of this queue ever had.
        outstanding: Messages that earlier processes left outstanding, by name.
        settled: Messages that were settled and may come again, by name, with epoch seconds.
    """

    next_number: int
    outstanding: dict[str, Position]
    settled: dict[str, float]
    _stream: str
    _group_commit: GroupCommit
    _is_idle: Callable[[], bool]

    @classmethod
    def of(
        cls,
        stream: str,
        store: SqliteStore,
        replay: ReplayFilter,
        group_commit: GroupCommit,
        is_idle: Callable[[], bool],
    ) -> Self:
        """Read the messages that the ledger knew at the start."""
        positions = (
            record_ref.position for entry in store.entries for record_ref in entry.record_refs
        )
        outstanding = {at.message: at for at in positions if at.stream == stream and at.message}
        settled = store.settled_messages.get(stream, {})
        next_number = replay.heads.get(stream, 0)
        return cls(
            next_number=next_number,
            outstanding=outstanding,
            settled=settled,
            _stream=stream,
            _group_commit=group_commit,
            _is_idle=is_idle,
        )

    def is_idle(self) -> bool:
        """Return whether every invocation is settled or left to the next process."""
        return self._is_idle()

    def forget(self, names: Sequence[str]) -> None:
        """Forget settled messages; stored a moment later."""
        self._group_commit.later(Forget({self._stream: list(names)}))
