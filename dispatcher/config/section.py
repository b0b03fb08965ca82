"""Base of all sections of the configuration, and mistakes in them with their place."""

from typing import NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list indexes from the top of a document to a value."""


class Section(BaseModel):
    """A section of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceLocation(NamedTuple):
    """The place where a value was written.

    Attributes:
        line: For sorting, from 1; 0 where there is none.
        place: As messages show it: ``worker.yaml:12``, ``--set limits.concurrency=64``.
    """

    line: int
    place: str


class Problem(NamedTuple):
    """One mistake in a configuration.

    Attributes:
        origin: Where it was made.
        sentence: What is wrong, with the remedy.
    """

    origin: SourceLocation
    sentence: str

    def __str__(self) -> str:
        return f"{self.origin.place}: {self.sentence}"
