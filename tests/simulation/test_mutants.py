"""The checker has teeth: whatever breaks a law in the running code is caught, and by that law."""

import pytest

from tests.simulation import mutants, simulate
from tests.simulation.simulate import workplace

_ENDS = "the ledger ends in order"
_ONCE = "settled exactly once"
_THERE, _GONE = "the input is there", "staged payloads are deleted"
_STOPS = "no defect"
"""The code finds it itself: a run that stops is no run that loses."""

LAWS = {
    "acknowledge before the outcome": {"acknowledged last"},
    "send before the intent is durable": {"no call before its durable intent"},
    "settle twice": {_STOPS, _ONCE},
    "do not cut back the results": {_STOPS, "one line a record"},
    "settle before the sink": {"settled after its line"},
    "do not sync the results": {"settled after its line is durable"},
    "forget the sink's position": {"settled after its line"},
    "send again without a look": {"look before sending again"},
    "read known records as new": {_STOPS, _ONCE, "no hang"},
    "move the mark over gaps": {_STOPS, _ENDS, _ONCE, "nothing lost"},
    "ignore the inline limit": {"never over the limit"},
    "plan more than is allowed": {"bounds held"},
    "never sweep": {"no hang"},
    "keep the memory": {_ENDS, "no hang"},
    "give an id twice": {"a new invocation has a new id"},
    "give a new attempt the old id": {"a new invocation has a new id"},
    "let a late event settle a new attempt": {"settled by its own completion"},
    "send again before the events are heard": {"hear the events first"},
    "delete a message when it is read": {"acknowledged last"},
    "settle before a queue has the line": {"settled after its line"},
    "name the output again for each call": {"a repeated call is the same"},
    "give outputs to other records": {"the right output"},
    "plan parts in a transaction of their own": {"settled after its line"},
    "let parts overlap": {"parts make the whole", _ONCE},
    "leave a record out of the parts": {"parts make the whole"},
    "let a late event settle a part": {"settled by its own completion"},
    "never split": {"dead on its own"},
    "split without a budget": {"split within the budget"},
    "do not count parts": {"parts counted"},
    "pair outputs with ids by their order": {"the right output"},
    "delete what others still use": {_THERE},
    "delete what is staged again": {_THERE},
    "take deleted objects to be there": {_THERE},
    "forget to discard": {_GONE},
    "forget discarded objects in a crash": {_GONE},
    "forget what earlier processes discarded": {_GONE},
    "delete without being asked": {"deleted where it is wanted"},
    "forget the totals": {_ENDS},
    "trust the spool": {_ONCE, "a repeated call is the same", "dead for a reason"},
}
"""By mutant: the laws that have to catch it, one or another by the seed."""


NOT_BEFORE = {
    "delete what is staged again": 145,
    "delete what others still use": 20,
    "do not cut back the results": 22,
    "forget discarded objects in a crash": 162,
    "forget to discard": 15,
    "forget what earlier processes discarded": 79,
    "delete without being asked": 50,
    "take deleted objects to be there": 20,
    "let a late event settle a part": 27,
    "pair outputs with ids by their order": 18,
    "trust the spool": 76,
}
"""The first seed that catches a mutant, where that saves seconds."""


def test_every_mutant_is_hunted() -> None:
    assert LAWS.keys() == mutants.MUTANTS.keys()


@pytest.mark.parametrize("name", LAWS)
def test_a_mutant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "STEPS", 100_000)  # a hang is a hang
    with workplace():
        first = NOT_BEFORE.get(name, 1)
        caught = mutants.hunt(name, range(first, first + 200), LAWS[name])
    assert caught is not None
