"""Doubles of the ledger and the outage timer, as the source of a queue sees them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dispatcher.errors import CallError, Transient
from dispatcher.records.record import Position

URL = "https://sqs.eu-west-1.amazonaws.com/1/in"
FAILED = Transient("failed", code="InternalError")


@dataclass
class Log:
    """What the ledger knew at the start, and what it was told to forget."""

    next_number: int = 0
    outstanding: dict[str, Position] = field(default_factory=dict)
    settled: dict[str, float] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)

    def is_idle(self) -> bool:
        return False

    def forget(self, names: Sequence[str]) -> None:
        self.forgotten += names


@dataclass
class Patience:
    """Counts, and gives up after some failures in a row."""

    most: int = 1_000
    failures: int = 0

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self, error: CallError) -> None:
        self.failures += 1
        if self.failures >= self.most:
            raise error
