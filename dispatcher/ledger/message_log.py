"""What a run remembers of the messages of a queue, so that it knows them when they come again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from dispatcher.ledger.group_commit import GroupCommit
from dispatcher.ledger.operations import Forget
from dispatcher.ledger.replay import ReplayFilter
from dispatcher.ledger.store.sqlite import SqliteStore
from dispatcher.records.record import Position


@dataclass(slots=True)
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
    _commits: GroupCommit
    _is_idle: Callable[[], bool]

    @classmethod
    def of(
        cls,
        stream: str,
        store: SqliteStore,
        replay: ReplayFilter,
        commits: GroupCommit,
        is_idle: Callable[[], bool],
    ) -> Self:
        """Read what the ledger knew at the start."""
        positions = (
            record_ref.position for entry in store.entries for record_ref in entry.record_refs
        )
        outstanding = {at.message: at for at in positions if at.stream == stream and at.message}
        settled = store.settled_messages.get(stream, {})
        return cls(replay.heads.get(stream, 0), outstanding, settled, stream, commits, is_idle)

    def is_idle(self) -> bool:
        """Return whether nothing of the run is under way: all is settled, or held back."""
        return self._is_idle()

    def forget(self, names: Sequence[str]) -> None:
        """Forget settled messages; stored a moment later."""
        self._commits.later(Forget({self._stream: list(names)}))
