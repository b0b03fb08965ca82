"""A mistake in a configuration, and where it was made."""

from typing import NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list indexes from the top of a document to a value."""


class SourceLocation(NamedTuple):
    """Where a value was written.

    Attributes:
        line: For sorting; 0 where there is none.
        place: As users are told: ``worker.yaml:12``, ``--set limits.concurrency=64``.
    """

    line: int
    place: str


class Problem(NamedTuple):
    """One mistake: where it was made, and a sentence that says what is wrong."""

    origin: SourceLocation
    sentence: str

    def __str__(self) -> str:
        return f"{self.origin.place}: {self.sentence}"
