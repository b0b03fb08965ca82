"""Journal of accepted invocations, with which a killed emulator goes on."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation
from dispatcher.emulator.state.journal import Journal, packed_bytes

_COMPACT_BYTES = 64 * 1024 * 1024

_FIELDS = tuple(field.name for field in fields(AcceptedInvocation))
"""A journal entry holds the values in this order."""


class AcceptedLog:
    """Invocations without an outcome, in memory and in a journal.

    Args:
        path: The journal; made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        # Each with the size of its journal entry.
        self._open: dict[int, tuple[AcceptedInvocation, int]] = {}
        self._journal = Journal(path)
        for entry in self._journal.entries():
            match entry:
                case ["accepted", *values]:
                    invocation = AcceptedInvocation(**dict(zip(_FIELDS, values, strict=True)))
                    self._open[invocation.serial] = invocation, packed_bytes(entry)
                case ["settled", serial]:
                    self._open.pop(serial, None)
        self._live_bytes = sum(size for _, size in self._open.values())
        self._journal.rewrite(self._entries())

    @property
    def next_serial(self) -> int:
        """The first number that no open invocation has."""
        return max(self._open, default=0) + 1

    def unsettled(self) -> list[AcceptedInvocation]:
        """Return the invocations without an outcome, in the order they were accepted."""
        invocations = (invocation for invocation, _ in self._open.values())
        return sorted(invocations, key=lambda invocation: invocation.serial)

    def add(self, invocation: AcceptedInvocation) -> None:
        """Store an invocation; from here on it survives a killed process."""
        size = self._journal.append(_entry(invocation))
        self._open[invocation.serial] = invocation, size
        self._live_bytes += size

    def settle(self, serial: int) -> None:
        """Forget an invocation, because its outcome has been written and published."""
        if serial not in self._open:
            return
        self._journal.append(["settled", serial])
        self._live_bytes -= self._open.pop(serial)[1]
        # Rewriting costs what is live, so it waits until three quarters of the file are dead.
        if self._journal.size > _COMPACT_BYTES + 4 * self._live_bytes:
            self._journal.rewrite(self._entries())

    def _entries(self) -> Iterator[list[Any]]:
        return (_entry(invocation) for invocation in self.unsettled())

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def _entry(invocation: AcceptedInvocation) -> list[Any]:
    return ["accepted", *(getattr(invocation, name) for name in _FIELDS)]
