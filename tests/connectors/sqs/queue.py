"""A double of the ledger, as the source of a queue sees it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dispatcher.errors import Transient
from dispatcher.records.record import Position

URL = "https://sqs.eu-west-1.amazonaws.com/1/in"
FAILED = Transient("failed", code="InternalError")


@dataclass
class Log:
    """The messages that the ledger recorded at the start, and those that it was asked to forget."""

    next_number: int = 0
    outstanding: dict[str, Position] = field(default_factory=dict)
    settled: dict[str, float] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)

    def is_idle(self) -> bool:
        return False

    def forget(self, names: Sequence[str]) -> None:
        self.forgotten += names
