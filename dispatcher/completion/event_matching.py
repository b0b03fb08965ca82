"""Event matching: whose completion an event is, and whether it settles anything. Pure."""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from dispatcher.completion.event import Completion, NoCompletion
from dispatcher.ledger.invocation import Entry
from dispatcher.observe.events import EventKind


class Invocations(Protocol):
    """The lookups of the ledger; see ``dispatcher.ledger.ledger.Ledger``."""

    def find_id(self, invocation: str) -> tuple[bool, Entry | None]:
        """Return whether an id is of this run, and its invocation if that is outstanding."""

    def find_output(self, location: str) -> Entry | None:
        """Return the outstanding invocation whose output or failure lies there."""


Match: TypeAlias = tuple[EventKind, Entry | None]
"""The kind of an event, of which only ``matched`` settles an invocation; and its invocation, if
that is outstanding."""


def match(part: Completion | NoCompletion, invocations: Invocations) -> Match:
    """Return whose completion an event is: by InferenceId first, else by output location."""
    if isinstance(part, NoCompletion):
        return part.why, None
    is_ours, entry = invocations.find_id(part.invocation or "")
    if not is_ours and part.location is not None:
        entry = invocations.find_output(str(part.location))
    if entry is not None:
        return ("claimed" if entry.claimed else "matched"), entry
    return ("closed" if is_ours else "foreign"), None


def is_useless(matches: Sequence[Match], foreign: Literal["leave", "delete"]) -> bool:
    """Return whether a message that settles nothing may be deleted at once.

    Ours and settled, or a test: yes. Foreign or not understood: as ``completion.foreign`` says, for
    the queue may be shared. Ours and being settled: no, it is deleted when that is durable.
    """
    useless = (
        {"closed", "test"} if foreign == "leave" else {"closed", "test", "foreign", "malformed"}
    )
    return all(kind in useless for kind, _ in matches)
