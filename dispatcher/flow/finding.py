"""The finding of a check on one thing that a run needs."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Finding:
    """The result of a check on one thing that a run needs.

    Attributes:
        name: The thing.
        ok: True as needed, False not usable, None cannot be checked from here.
        detail: A few words, or a sentence that says what to do.
    """

    name: str
    ok: bool | None
    detail: str
