"""The state table covers every move of every state."""

from itertools import product

import pytest

from dispatcher.ledger import states
from dispatcher.ledger.states import LATE, TABLE, IllegalMoveError, Move, State, step


@pytest.mark.parametrize(("state", "move"), list(product(State, Move)))
def test_every_pair_is_a_move_or_late_or_illegal_but_never_two_of_them(
    state: State, move: Move
) -> None:
    assert not ((state, move) in TABLE and (state, move) in LATE)
    if (state, move) in TABLE:
        assert step(state, move) is TABLE[state, move]
    elif (state, move) in LATE:
        assert step(state, move) is None
    else:
        with pytest.raises(IllegalMoveError, match=f"{state.name} cannot {move}"):
            step(state, move)


def test_a_move_that_the_table_does_not_know_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "LATE", frozenset())
    with pytest.raises(IllegalMoveError, match="an invocation that is SETTLED cannot accept"):
        step(State.SETTLED, Move.ACCEPT)


def test_moves_only_lead_onward_and_every_end_is_one() -> None:
    assert all(after > before for (before, _), after in TABLE.items())
    ends = {s for s in State if not any(before is s for before, _ in TABLE)}
    assert ends == {State.SETTLED, State.REPLACED}


def test_a_completion_may_overtake_the_acceptance() -> None:
    state = step(State.PLANNED, Move.SETTLE)
    assert state is State.SETTLED
    assert step(state, Move.ACCEPT) is None


def test_duplicate_news_changes_nothing() -> None:
    assert step(State.ACCEPTED, Move.ACCEPT) is None
    assert step(State.SETTLED, Move.SETTLE) is None


@pytest.mark.parametrize("move", Move)
def test_nothing_that_is_heard_of_an_old_attempt_moves_it_again(move: Move) -> None:
    assert step(State.REPLACED, move) is None


def test_the_stored_values_are_what_ledgers_on_disk_hold() -> None:
    assert {state.name: state.value for state in State} == {
        "PLANNED": 1,
        "ACCEPTED": 2,
        "SETTLED": 3,
        "REPLACED": 4,
    }
