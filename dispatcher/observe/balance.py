"""The balance of a run: every record read is completed, dead, or unfinished."""

from dataclasses import dataclass

from dispatcher.observe.meter import Meter


@dataclass(frozen=True, slots=True)
class Balance:
    """Law: every record that was read is completed, dead, or (of a stopped run) unfinished.

    Attributes:
        read: Records read.
        completed: Records with an output.
        dead: Records in the dead letters.
        unfinished: The rest; 0 at the end of a finished run.
    """

    read: int
    completed: int
    dead: int

    @property
    def unfinished(self) -> int:
        """Return how many records have no outcome; negative where more were settled than read."""
        return self.read - self.completed - self.dead

    def holds(self, *, finished: bool) -> bool:
        """Say whether nothing is lost and nothing is counted twice."""
        return self.unfinished == 0 if finished else self.unfinished >= 0

    def __str__(self) -> str:
        text = f"read {self.read:,} = completed {self.completed:,} + dead {self.dead:,}"
        if self.unfinished > 0:
            return f"{text} + unfinished {self.unfinished:,}"
        return text.replace("=", "≠") if self.unfinished else text


def balance_of(meter: Meter) -> Balance:
    """Return the balance of a run so far."""
    return Balance(meter.read, meter.completed, meter.dead)
