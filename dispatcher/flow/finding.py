"""A finding: what a check says of one thing that a run needs."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Finding:
    """What a check says of one thing that a run needs.

    Attributes:
        name: The thing.
        ok: True as needed, False not usable, None cannot be seen from here.
        detail: A few words, or a sentence that says what to do.
    """

    name: str
    ok: bool | None
    detail: str
