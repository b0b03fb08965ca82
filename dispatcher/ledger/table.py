"""The outstanding invocations in memory, with the queries on them.

Pure: what is durable is the business of ``dispatcher.ledger.ledger``, which changes this table in
step with the store.
"""

from collections.abc import Iterable

from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.output_index import OutputIndex
from dispatcher.ledger.states import State


class InvocationTable:
    """The invocations without an outcome, by number.

    Args:
        entries: The outstanding invocations at the start.

    Attributes:
        entries: The outstanding invocations now; always the same dictionary, changed here alone.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = {entry.planned.number: entry for entry in entries}
        self._output_index = OutputIndex(self.entries.values())
        self._missing_payloads = {entry.planned.number for entry in self.without_payload()}
        self._left_to_next_process: set[int] = set()

    # Changes

    def add(self, entries: Iterable[Entry]) -> None:
        """Add invocations whose intent has become durable."""
        self.entries.update((entry.planned.number, entry) for entry in entries)

    def remove(self, entry: Entry) -> None:
        """Remove an invocation that is settled or replaced."""
        number = entry.planned.number
        del self.entries[number]
        self._output_index.remove(entry)
        self._left_to_next_process.discard(number)
        self._missing_payloads.discard(number)

    def index_outputs(self, entry: Entry) -> None:
        """Make an invocation findable by its locations, which the service has just named."""
        self._output_index.add(entry)

    def payload_restored(self, number: int) -> None:
        """Note that the payload of an invocation is in the spool again."""
        self._missing_payloads.discard(number)

    def leave_to_next_process(self, numbers: Iterable[int]) -> None:
        """Stop waiting for invocations that this process will not send."""
        self._left_to_next_process.update(n for n in numbers if n in self.entries)

    def reclaim(self, number: int) -> None:
        """Wait again for an invocation that was left to the next process."""
        self._left_to_next_process.discard(number)

    # Queries

    def find_output(self, location: str) -> Entry | None:
        """Return the invocation whose output or failure the service put at a location."""
        return self.entries.get(self._output_index.number_at(location) or 0)

    @property
    def records(self) -> int:
        """Records of the outstanding invocations."""
        return sum(len(entry.record_refs) for entry in self.entries.values())

    @property
    def with_payload(self) -> int:
        """Invocations whose payload was not lost, or is found again."""
        return len(self.entries) - len(self._missing_payloads)

    @property
    def left_to_next_process(self) -> int:
        """Invocations that this process does not wait for."""
        return len(self._left_to_next_process)

    @property
    def is_idle(self) -> bool:
        """True if every outstanding invocation is left to the next process."""
        return len(self.entries) <= len(self._left_to_next_process)

    @property
    def needs_staging(self) -> bool:
        """True if the payload of an outstanding invocation goes through S3."""
        return any(entry.planned.route == "s3" for entry in self.entries.values())

    def without_payload(self) -> list[Entry]:
        """Return the invocations whose payload a power loss took and that is not found again."""
        return [entry for entry in self.entries.values() if entry.payload is None]

    def planned(self) -> list[Entry]:
        """Return the invocations that are not known to be accepted."""
        return [entry for entry in self.entries.values() if entry.state is State.PLANNED]

    def accepted(self) -> list[Entry]:
        """Return the invocations that were accepted and are not being settled."""
        return [
            entry
            for entry in self.entries.values()
            if entry.state is State.ACCEPTED and not entry.claimed
        ]

    def claimed(self) -> list[Entry]:
        """Return the invocations that are being settled."""
        return [entry for entry in self.entries.values() if entry.claimed]
