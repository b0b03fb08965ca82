"""What closes an invocation: the outcomes of its records."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dispatcher.flow.budget import Reservation
from dispatcher.flow.content import FileSlice
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.outcome import Outcome


@dataclass(slots=True)
class Settlement:
    """The outcomes of one invocation, or of records that never were in one.

    Attributes:
        entry: The invocation that is over, or None.
        outcomes: One for each of its records, at least one.
        reservation: Holds the memory that the outcomes take, until they are written.
        size: Bytes of the outputs and inputs that the outcomes carry in memory.
    """

    entry: Entry | None
    outcomes: list[Outcome]
    reservation: Reservation | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        """Weigh it once, for all who keep to a bound."""
        self.size = sum(
            len(o.output or b"") + (0 if isinstance(o.input, FileSlice) else len(o.input or b""))
            for o in self.outcomes
        )


def tallies_of(settlements: Sequence[Settlement]) -> Counter[str]:
    """Return how many records are settled how: ``completed`` and ``dead:<reason>``."""
    tallies: Counter[str] = Counter()
    for settlement in settlements:
        dead = [f"dead:{o.reason}" for o in settlement.outcomes if o.status != "completed"]
        tallies.update(dead)
        if completed := len(settlement.outcomes) - len(dead):
            tallies["completed"] += completed
    return tallies


def messages_of(settlements: Sequence[Settlement]) -> dict[str, list[str]]:
    """Return the messages of settled records by stream; nothing where the source is no queue."""
    names: dict[str, list[str]] = {}
    for settlement in settlements:
        for at in (outcome.position for outcome in settlement.outcomes):
            if at.message is None:
                break  # one source, one kind
            names.setdefault(at.stream, []).append(at.message)
    return names
