"""State table of an invocation: every move with its precondition.

A move that is neither in ``TABLE`` nor in ``LATE`` cannot happen and raises. A move in ``LATE``
happens in every healthy run (duplicate events, a 202 that its own completion overtakes) and changes
nothing.
"""

from enum import IntEnum, StrEnum


class State(IntEnum):
    """State of an invocation; the values are stored in the ledger."""

    PLANNED = 1
    """The intent is durable; a call may or may not have left."""

    ACCEPTED = 2
    """The service answered 202, or its output shows that it must have."""

    SETTLED = 3
    """Every record has its outcome in the sink; the row is gone."""

    REPLACED = 4
    """Its records go on in a new invocation, planned in the same transaction; the row is gone."""


class Move(StrEnum):
    """A change of an invocation's state."""

    ACCEPT = "accept"
    SETTLE = "settle"
    REPLACE = "replace"


TABLE: dict[tuple[State, Move], State] = {
    (State.PLANNED, Move.ACCEPT): State.ACCEPTED,
    (State.PLANNED, Move.SETTLE): State.SETTLED,
    (State.ACCEPTED, Move.SETTLE): State.SETTLED,
    (State.PLANNED, Move.REPLACE): State.REPLACED,
    (State.ACCEPTED, Move.REPLACE): State.REPLACED,
}

LATE: frozenset[tuple[State, Move]] = frozenset(
    {
        (State.ACCEPTED, Move.ACCEPT),
        (State.SETTLED, Move.ACCEPT),
        (State.SETTLED, Move.SETTLE),
        (State.SETTLED, Move.REPLACE),
        (State.REPLACED, Move.ACCEPT),
        (State.REPLACED, Move.SETTLE),
        (State.REPLACED, Move.REPLACE),
    }
)


class IllegalMoveError(RuntimeError):
    """A move that the table does not know: a defect of the dispatcher."""


def step(state: State, move: Move) -> State | None:
    """Return the state after ``move``, or None where the move comes late and changes nothing.

    Raises:
        IllegalMoveError: The table has no such move.
    """
    if (after := TABLE.get((state, move))) is not None:
        return after
    if (state, move) in LATE:
        return None
    raise IllegalMoveError(f"an invocation that is {state.name} cannot {move}")
