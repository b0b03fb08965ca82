"""The checker, on histories written by hand: a good one, and what breaks each law."""

from dataclasses import replace

import pytest

from tests.simulation.history import (
    Answer,
    Answered,
    Began,
    Called,
    Came,
    Committed,
    Cut,
    Deleted,
    Died,
    Dropped,
    Event,
    Fact,
    Final,
    Found,
    Line,
    Looked,
    Missed,
    Polled,
    Removed,
    Sent,
    Signalled,
    Stopped,
    Synced,
    Taken,
    Terms,
    Undeleted,
    Wrote,
)
from tests.simulation.laws import check

TERMS = Terms(
    records=frozenset({1, 2}),
    refusals={},
    concurrency=2,
    outstanding=2,
    durable=True,
    deadline=60.0,
    attempts=3,
    drain=5.0,
    patience=15.0,
    chosen=True,
    listens=True,
    queues=frozenset(),
)
FIRST, SECOND = Line(1, 10, "right"), Line(2, 20, "right")
LATER = 10.0


def committed(
    planned: tuple[tuple[str, tuple[int, ...]], ...] = (),
    accepted: tuple[str, ...] = (),
    closed: tuple[str, ...] = (),
    marks: tuple[int, int] = (0, 0),
    *,
    outstanding: int = 1,
    base_known: bool = True,
) -> Committed:
    return Committed(planned, accepted, closed, marks, outstanding, base_known)


def called(id_: str, *, crc: int = 7, inline: int | None = 5) -> Called:
    location = None if inline is not None else "s3://inputs/x"
    return Called(id_, f"shard/{id_}.out", crc, inline, location)


def run_of(id_: str, record: int, line: Line, mark: int) -> list[Fact]:
    """Return what happens to one invocation from its plan to its acknowledgement."""
    marks = (mark - 10, 0)
    return [
        committed(((id_, (record,)),), marks=marks),
        called(id_),
        Taken(id_, (record,)),
        Answered(id_, "accepted"),
        committed(accepted=(id_,), marks=marks),
        Came(id_, "completed", (record,)),
        Wrote("results", mark - 10, (line,)),
        Synced("results", mark),
        committed(closed=(id_,), marks=(mark, 0), outstanding=0),
        Deleted(f"m-{id_}", id_),
    ]


GOOD: list[Fact] = [
    Began(),
    Found(()),
    *run_of("a", 1, FIRST, 10),
    *run_of("b", 2, SECOND, 20),
    Stopped("finished"),
    Final((FIRST, SECOND), (), 0, (), ()),
]


def laws(facts: list[Fact], terms: Terms = TERMS, *, seconds_apart: float = 0.001) -> set[str]:
    life = -1
    history = []
    for number, fact in enumerate(facts):
        life += isinstance(fact, Began)
        history.append(Event(number * seconds_apart, life, fact))
    return {violation.law for violation in check(history, terms)}


def without(fact: Fact) -> list[Fact]:
    return [other for other in GOOD if other != fact]


def before(fact: Fact, *others: Fact) -> list[Fact]:
    at = GOOD.index(fact)
    return [*GOOD[:at], *others, *GOOD[at:]]


def moved(fact: Fact, to: Fact) -> list[Fact]:
    facts = without(fact)
    facts.insert(facts.index(to), fact)
    return facts


def test_a_good_history_breaks_no_law() -> None:
    assert laws(GOOD) == set()


def test_a_history_that_does_not_end_is_none() -> None:
    assert laws(GOOD[:-2]) == {"every run ends"}


def test_a_call_needs_its_durable_intent() -> None:
    facts = moved(called("a"), to=committed((("a", (1,)),)))
    assert "no call before its durable intent" in laws(facts)


def test_a_call_of_what_is_over_is_none() -> None:
    assert laws(before(Stopped("finished"), called("a"))) >= {"no call after the outcome"}


@pytest.mark.parametrize(
    ("call", "law"),
    [
        (replace(called("a"), location="s3://inputs/x"), "a body or a location"),
        (replace(called("a"), inline=None), "a body or a location"),
        (called("a", inline=128_001), "never over the limit"),
    ],
)
def test_a_call_is_one_that_the_service_can_take(call: Called, law: str) -> None:
    facts: list[Fact] = [call if fact == called("a") else fact for fact in GOOD]
    assert laws(facts) == {law}


def test_128_000_bytes_are_allowed() -> None:
    call = called("a", inline=128_000)
    assert laws([call if fact == called("a") else fact for fact in GOOD]) == set()


def test_an_event_is_deleted_after_the_outcome() -> None:
    closing = committed(closed=("a",), marks=(10, 0), outstanding=0)
    assert laws(moved(Deleted("m-a", "a"), to=closing)) == {"acknowledged last"}
    assert laws([Began(), Found(()), Deleted("m-x", None), *GOOD[2:]]) == set(), "of another run"


def test_a_message_of_the_source_is_deleted_after_the_outcome() -> None:
    closing = committed(closed=("a",), marks=(10, 0), outstanding=0)
    assert laws(before(closing, Dropped(1))) == {"acknowledged last"}
    assert laws(before(Stopped("finished"), Dropped(1))) == set()


def test_a_settlement_follows_its_line() -> None:
    closing = committed(closed=("a",), marks=(10, 0), outstanding=0)
    assert "settled after its line" in laws(
        moved(Wrote("results", 0, (FIRST,)), to=Deleted("m-a", "a"))
    )
    assert laws(moved(Synced("results", 10), to=Deleted("m-a", "a"))) == {
        "settled after its line is durable"
    }
    relaxed = replace(TERMS, durable=False)
    assert laws(moved(Synced("results", 10), to=Deleted("m-a", "a")), relaxed) == set()
    facts: list[Fact] = [
        committed(closed=("a",), marks=(0, 0), outstanding=0) if fact == closing else fact
        for fact in GOOD
    ]
    assert "settled after its line" in laws(facts)


def test_a_line_in_a_queue_is_as_good() -> None:
    terms = replace(TERMS, queues=frozenset({"results"}))
    facts: list[Fact] = []
    for fact in GOOD:
        match fact:
            case Wrote(sink, _, lines):
                facts.append(Sent(sink, lines))
            case Synced():
                pass
            case Committed():
                facts.append(replace(fact, marks=(0, 0)))
            case _:
                facts.append(fact)
    assert laws(facts, terms) == set()
    assert laws([fact for fact in facts if not isinstance(fact, Sent)], terms) == {
        "settled after its line"
    }


def test_an_invocation_is_settled_by_its_own_completion() -> None:
    assert "settled by its own completion" in laws(without(Came("a", "completed", (1,))))


def test_bounds_are_held() -> None:
    many = replace(committed((("a", (1,)),)), outstanding=3)
    facts: list[Fact] = [many if fact == committed((("a", (1,)),)) else fact for fact in GOOD]
    assert laws(facts) == {"bounds held"}
    terms = replace(TERMS, concurrency=1)
    both = before(Answered("a", "accepted"), committed((("c", (3,)),), outstanding=2), called("c"))
    assert "bounds held" in laws(both, terms)
    assert "bounds held" not in laws(both)


def test_a_record_is_in_one_invocation_and_settled_once() -> None:
    twice = before(called("a"), committed((("c", (1,)),), outstanding=2))
    assert "settled exactly once" in laws(twice)
    again = before(Stopped("finished"), committed((("c", (1,)),), marks=(20, 0)))
    assert "settled exactly once" in laws(again)
    same = before(Stopped("finished"), committed((("a", (3,)),), marks=(20, 0)))
    assert "a new invocation has a new id" in laws(same)


def test_a_new_attempt_may_take_a_record_over() -> None:
    facts = before(
        Wrote("results", 0, (FIRST,)),
        committed((("c", (1,)),), closed=("a",)),
    )
    closing = committed(closed=("a",), marks=(10, 0), outstanding=0)
    facts[facts.index(closing)] = committed(closed=("c",), marks=(10, 0), outstanding=0)
    facts.insert(facts.index(Wrote("results", 0, (FIRST,))), Came("c", "completed", (1,)))
    assert laws(facts) == set()


CRASHED: list[Fact] = [
    *GOOD[:5],
    Died("here", power=False),
    Began(),
    Found(("a",)),
    Polled(0),
    Looked("e/output/shard/a.out"),
    called("a"),
    *GOOD[4:],
]
"""Killed while the first call was on the wire; the next process calls again."""


def test_what_may_have_been_accepted_is_called_again_after_events_and_a_look() -> None:
    unlooked: list[Fact] = [fact for fact in CRASHED if not isinstance(fact, Looked)]
    unheard: list[Fact] = [fact for fact in CRASHED if not isinstance(fact, Polled)]
    assert laws(CRASHED) == set()
    assert laws(unlooked) == {"look before sending again"}
    assert laws(unlooked, replace(TERMS, chosen=False)) == set()
    assert laws(unheard) == {"hear the events first"}
    assert laws(unheard, seconds_apart=LATER) == set()


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        ("accepted", {"sent again only if unsure"}),
        ("unknown", {"look before sending again", "repeated calls counted"}),
        ("throttled", set()),
    ],
)
def test_a_call_is_repeated_only_where_that_is_right(answer: Answer, broken: set[str]) -> None:
    facts: list[Fact] = [
        *GOOD[:4],
        Answered("a", answer),
        called("a"),
        *GOOD[4:],
    ]
    assert laws(facts) == broken


def test_what_is_known_to_be_accepted_is_not_called_again() -> None:
    facts: list[Fact] = [
        *GOOD[:7],
        Died("here", power=False),
        Began(),
        Found(("a",)),
        Polled(0),
        Looked("e/output/shard/a.out"),
        called("a"),
        Answered("a", "accepted"),
        *GOOD[7:],
    ]
    assert laws(facts) == {"sent again only if unsure"}


def test_a_repeated_call_is_the_same_and_waits_for_the_first() -> None:
    other: list[Fact] = [*GOOD[:4], Answered("a", "throttled"), called("a", crc=8), *GOOD[4:]]
    assert laws(other) == {"a repeated call is the same"}
    assert "one call at a time" in laws([*GOOD[:4], called("a"), *GOOD[4:]])


def test_what_was_committed_is_found_again() -> None:
    lost = [Found(()) if fact == Found(("a",)) else fact for fact in CRASHED]
    assert "what was committed survives" in laws(lost)


def test_a_cut_takes_lines_away_and_never_what_is_settled() -> None:
    cut = before(Stopped("finished"), Cut("results", 15))
    assert laws(cut) == {"nothing lost"}
    harmless = before(
        Wrote("results", 0, (FIRST,)), Wrote("results", 0, (FIRST,)), Cut("results", 5)
    )
    assert laws(harmless) == set()
    assert "one line a record" in laws(before(Synced("results", 10), Wrote("results", 0, (FIRST,))))


@pytest.mark.parametrize(
    ("final", "law"),
    [
        (Final((FIRST,), (), 0, (), ()), "nothing lost"),
        (Final((FIRST,), (), 0, (2,), ()), "the source is used up"),
        (Final((FIRST, SECOND, SECOND), (), 0, (), ()), "one line a record"),
        (Final((FIRST, SECOND), (Line(2, 9, "model_error"),), 0, (), ()), "one line a record"),
        (Final((FIRST, SECOND, Line(3, 30, "right")), (), 0, (), ()), "one line a record"),
        (Final((FIRST, replace(SECOND, verdict="wrong")), (), 0, (), ()), "the right output"),
        (Final((FIRST,), (Line(2, 9, "model_error"),), 0, (), ()), "dead for a reason"),
        (Final((FIRST, SECOND), (), 0, (), ("something",)), "the ledger ends in order"),
        (Final((FIRST, replace(SECOND, attempts=2)), (), 0, (), ()), "attempts counted"),
    ],
)
def test_the_end_is_checked(final: Final, law: str) -> None:
    assert law in laws([*GOOD[:-1], final])


@pytest.mark.parametrize(
    ("reason", "happened", "is_right"),
    [
        ("model_error", Came("b", "failed", (2,)), True),
        ("count_mismatch", Came("b", "garbled", (2,)), True),
        ("expired", Came("b", "expired", (2,)), True),
        ("expired", Came("b", "failed", (2,)), False),
        ("bad_json", Came("b", "failed", (2,)), False),
        ("call_rejected", Answered("b", "rejected"), True),
        ("call_rejected", Answered("b", "throttled"), False),
        ("call_unknown", Answered("b", "unknown"), False),
    ],
)
def test_a_record_is_dead_for_what_happened_to_it(
    reason: str, happened: Fact, *, is_right: bool
) -> None:
    facts: list[Fact] = [happened if f == Came("b", "completed", (2,)) else f for f in GOOD]
    facts[-1] = Final((FIRST,), (Line(2, 20, reason),), 0, (), ())
    assert ("dead for a reason" not in laws(facts)) is is_right


def test_a_record_may_be_dead_after_long_failures() -> None:
    facts: list[Fact] = [
        Answered("b", "transient") if f == Came("b", "completed", (2,)) else f for f in GOOD
    ]
    facts[-1] = Final((FIRST,), (Line(2, 20, "call_transient"),), 0, (), ())
    assert "dead for a reason" in laws(facts)
    assert "dead for a reason" not in laws(facts, seconds_apart=LATER)


def test_a_refusal_is_the_one_that_was_to_come() -> None:
    terms = replace(TERMS, records=frozenset({1, 2, 3}), refusals={3: "bad_json"})
    dead = Line(3, 5, "bad_json")
    refused: list[Fact] = [Wrote("dead", 0, (dead,)), Synced("dead", 5)]
    end = Final((FIRST, SECOND), (dead,), 0, (), ())
    settled = replace(committed(outstanding=0), marks=(20, 5))
    assert laws([*GOOD[:-2], *refused, settled, Stopped("finished"), end], terms) == set()
    other = replace(end, dead=(replace(dead, verdict="too_large"),))
    facts = [*GOOD[:-2], *refused, settled, Stopped("finished"), other]
    assert laws(facts, terms) == {"dead for a reason"}


def test_a_process_ends_in_time_when_it_is_asked_to() -> None:
    def stopped_after(seconds: int, *signals: int) -> set[str]:
        # One fact a second.
        waiting: list[Fact] = [Signalled() if s in signals else Polled(0) for s in range(seconds)]
        return laws([Began(), *waiting, Stopped("signal"), *GOOD], seconds_apart=1.0)

    late = "a stop ends in time"
    assert late not in stopped_after(8, 0)
    assert late in stopped_after(9, 0)
    assert late not in stopped_after(5, 0, 2)
    assert late in stopped_after(6, 0, 2)


def test_what_may_have_been_called_twice_is_counted() -> None:
    call: list[Fact] = [Answered("a", "unknown"), Looked("e/output/shard/a.out"), called("a")]
    facts: list[Fact] = [*GOOD[:4], *call, *GOOD[4:-1]]
    assert laws([*facts, Final((FIRST, SECOND), (), 1, (), ())]) == set()
    assert laws([*facts, Final((FIRST, SECOND), (), 0, (), ())]) == {"repeated calls counted"}


def test_a_process_that_fails_or_hangs_is_blamed() -> None:
    assert "no defect" in laws([*GOOD[:-2], Stopped("AssertionError: ", is_defect=True)])
    assert "no hang" in laws([*GOOD[:-2], Stopped("hangs: long", is_defect=True)])


OBJECT = "s3://inputs/x"
STAGED: list[Fact] = [called("a", inline=None) if fact == called("a") else fact for fact in GOOD]
END = GOOD[-1]


@pytest.mark.parametrize("gone", [Missed("a", "call"), Missed("a", "model"), Removed(OBJECT)])
def test_an_input_is_there_until_its_invocation_is_over(gone: Fact) -> None:
    at = STAGED.index(Answered("a", "accepted"))
    assert laws([*STAGED[:at], gone, *STAGED[at:]]) == {"the input is there"}
    assert laws([*STAGED[:-1], gone, END]) == set()


def test_a_staged_object_is_deleted_when_the_last_that_uses_it_is_over() -> None:
    other = called("b", inline=None)
    facts: list[Fact] = [other if fact == called("b") else fact for fact in STAGED]
    at = facts.index(Answered("b", "accepted"))
    assert laws([*facts[:at], Removed(OBJECT), *facts[at:]]) == {"the input is there"}
    assert laws([*facts[:-1], Removed(OBJECT), END]) == set()


def test_nothing_is_deleted_that_the_run_is_to_leave() -> None:
    terms = replace(TERMS, deletes=False)
    assert laws([*STAGED[:-1], Removed(OBJECT), END], terms) == {"deleted where it is wanted"}
    left = Final((FIRST, SECOND), (), 0, (), (), staged=(OBJECT,))
    assert laws([*STAGED[:-1], left], terms) == set()


def test_only_what_could_not_be_deleted_is_left_and_known() -> None:
    left = Final((FIRST, SECOND), (), 0, (), (), staged=(OBJECT,))
    known = replace(left, discarded=(OBJECT,))
    law = {"staged payloads are deleted"}
    assert laws([*STAGED[:-1], left]) == law
    assert laws([*STAGED[:-1], known]) == law
    assert laws([*STAGED[:-1], Undeleted(OBJECT), known]) == set()
    assert laws([*STAGED[:-1], Undeleted(OBJECT), left]) == law
    assert laws([*STAGED[:-1], Undeleted(OBJECT), Removed(OBJECT), known]) == law


def test_a_payload_shows_what_it_holds_and_not_whose_it_is() -> None:
    facts: list[Fact] = []
    for fact in GOOD:
        match fact:
            case Taken("b", _):
                facts.append(Taken("b", (1,)))
            case Came("b", how, _):
                facts.append(Came("b", how, (1,)))
            case _:
                facts.append(fact)
    assert laws(facts) == {"a call carries its records"}
    assert laws(facts, replace(TERMS, alike={2: 1})) == set()
