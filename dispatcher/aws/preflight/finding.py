"""What a look at an account has found."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Finding:
    """What was found of one thing that a run needs.

    Attributes:
        name: What was looked at.
        ok: True as needed, False not usable, None could not be seen from here.
        detail: A sentence.
    """

    name: str
    ok: bool | None
    detail: str
