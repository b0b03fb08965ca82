"""The times of looks for an invocation, and the requests that they take."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.completion.sweep.schedule import (
    LIST_FROM,
    Probe,
    SweepSchedule,
    cost,
    neighbours,
    probes,
)
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.states import State

HOUR = 3600.0


def entry(number: int = 1, accepted_at: float | None = 0.0, *, sharded: bool = True) -> Entry:
    shard = f"tag/{number // 1000}"
    planned = Planned(number, f"id-{number}", shard, "application/json", "inline", 5)
    output = f"s3://out/results/{shard}/id-{number}.out" if sharded else f"s3://out/{number}.out"
    made = Entry(planned, [], None, 0, 0.0, accepted_at=accepted_at, output=output)
    made.state = State.ACCEPTED
    return made


times = st.floats(0.01, 1e5)


@given(first=times, pause=times, deadline=times, accepted_at=st.floats(0, 1e6))
def test_probes_grow_apart_and_the_last_is_at_the_deadline(
    first: float, pause: float, deadline: float, accepted_at: float
) -> None:
    schedule = SweepSchedule(first, pause, deadline)
    made = [schedule.next_probe(accepted_at, None)]
    while not schedule.is_over(accepted_at, made[-1]):
        made.append(schedule.next_probe(accepted_at, made[-1]))
        assert made[-1] > made[-2]
    assert made[-1] == accepted_at + deadline
    assert made[0] == accepted_at + min(first, deadline)
    gaps = [later - earlier for earlier, later in pairwise(made[:-1])]
    assert all(gap >= pause - 1e-6 for gap in gaps)
    assert all(later >= earlier - 1e-6 for earlier, later in pairwise(gaps))
    assert len(made) < 50


@given(
    looked_at=st.none() | st.floats(0, 1e5),
    later=st.floats(0, 1e5),
    first=times,
    pause=times,
    deadline=times,
)
def test_a_later_probe_never_makes_the_next_one_sooner(
    looked_at: float | None, later: float, first: float, pause: float, deadline: float
) -> None:
    schedule = SweepSchedule(first, pause, deadline)
    after = later if looked_at is None else max(looked_at, later)
    assert schedule.next_probe(0.0, looked_at) <= schedule.next_probe(0.0, after)


def test_six_hours_take_fifteen_looks() -> None:
    schedule, looked_at, made = SweepSchedule(60.0, 60.0, 6.3 * HOUR), None, 0
    while looked_at is None or not schedule.is_over(0.0, looked_at):
        looked_at, made = schedule.next_probe(0.0, looked_at), made + 1
    assert made == 15


@pytest.mark.parametrize(
    ("accepted_at", "looked_at", "is_due"),
    [
        (None, None, False),
        (40.1, None, False),
        (40.0, None, True),
        (0.0, 40.1, False),
        (0.0, 40.0, True),
    ],
)
def test_what_is_due(accepted_at: float | None, looked_at: float | None, is_due: bool) -> None:
    invocation = entry(accepted_at=accepted_at)
    invocation.looked_at = looked_at
    due = SweepSchedule(60.0, 60.0, HOUR).due([invocation], 100.0, {})
    assert [invocation for *_, invocation in due] == ([invocation] if is_due else [])


def test_what_has_no_location_is_due_at_its_deadline() -> None:
    invocation = entry()
    invocation.output = None
    schedule = SweepSchedule(60.0, 60.0, HOUR)
    assert schedule.due([invocation], HOUR - 1, {}) == []
    assert schedule.due([invocation], HOUR, {}) == [(False, HOUR, 1, invocation)]


def test_a_deadline_before_the_expected_time_is_kept() -> None:
    invocation = entry()
    schedule = SweepSchedule(HOUR, 60.0, 100.0)
    assert schedule.due([invocation], 99.0, {}) == []
    assert schedule.due([invocation], 100.0, {}) == [(False, 100.0, 1, invocation)]


def test_deadlines_come_first_then_the_oldest_then_what_failed_before() -> None:
    failed_at_its_deadline, at_its_deadline, old, young = (
        entry(n, at) for n, at in enumerate((0.0, 0.0, 3000.0, 3500.0), 1)
    )
    invocations = [young, failed_at_its_deadline, old, at_its_deadline]
    postponed = {1: HOUR + 5}
    schedule = SweepSchedule(60.0, 60.0, HOUR)
    for now, order in (
        (HOUR + 4, [at_its_deadline, old, young]),
        (HOUR + 5, [at_its_deadline, old, young, failed_at_its_deadline]),
    ):
        assert [
            invocation for *_, invocation in sorted(schedule.due(invocations, now, postponed))
        ] == order


def test_only_the_more_urgent_are_returned_if_so_asked() -> None:
    invocations = [entry(n, float(n)) for n in range(1, 10)]
    schedule = SweepSchedule(60.0, 60.0, HOUR)
    due = sorted(schedule.due(invocations, 200.0, {}))
    assert sorted(schedule.due(invocations, 200.0, {}, due[4])) == due[:4]


@given(
    budget=st.integers(1, 10),
    outputs_after=st.lists(st.floats(0, 300), min_size=1, max_size=60),
    failing=st.integers(0, 10),
)
def test_no_invocation_starves(budget: int, outputs_after: list[float], failing: int) -> None:
    """Serve the most urgent few every second, of which some always fail: all are served."""
    schedule = SweepSchedule(10.0, 10.0, 500.0)
    entries = [entry(n, at) for n, at in enumerate(outputs_after, 1)]
    broken = {invocation.planned.number for invocation in entries[:failing]}
    postponed: dict[int, float] = {}
    last = dict.fromkeys((invocation.planned.number for invocation in entries), 0.0)
    for now in range(1000):
        for *_, invocation in sorted(schedule.due(entries, now, postponed))[:budget]:
            number = invocation.planned.number
            last[number] = now
            if number in broken:
                postponed[number] = now + 15.0
            elif schedule.is_over(invocation.accepted_at or 0, now):
                entries.remove(invocation)
            else:
                invocation.looked_at = now
    assert {invocation.planned.number for invocation in entries} == broken
    assert all(now >= 500 for now in last.values())


def test_many_of_a_folder_are_listed_and_few_are_probed_singly() -> None:
    many = [entry(n) for n in range(1, LIST_FROM + 1)]
    few = [entry(n) for n in range(1000, 1000 + LIST_FROM - 1)]
    foreign = [entry(n, sharded=False) for n in range(2000, 2100)]
    planned = probes([*few, *many, *foreign], "output", list_from=LIST_FROM)
    lists = [probe for probe in planned if probe.folder is not None]
    assert lists == [Probe("s3://out/results/tag/0", many)]
    assert [probe for probe in planned if probe.folder is None] == [
        Probe(None, [invocation]) for invocation in (*few, *foreign)
    ]
    assert planned[0] == Probe(None, [few[0]]), "in their order"


def test_a_refused_bucket_is_not_listed_and_a_page_at_hand_is_used() -> None:
    few = [entry(n) for n in range(1, 4)]
    folder = "s3://out/results/tag/0"
    assert probes(few, "output", list_from=2) == [Probe(folder, few)]
    singly = [Probe(None, [invocation]) for invocation in few]
    assert probes(few, "output", list_from=2, refused={"out"}) == singly
    assert probes(few, "output", list_from=99) == singly
    assert probes(few, "output", list_from=99, listed={folder}) == [Probe(folder, few)]


@given(
    numbers=st.sets(st.integers(1, 5000), max_size=200),
    list_from=st.sampled_from([2, LIST_FROM]),
    sharded=st.booleans(),
)
def test_every_invocation_is_in_exactly_one_request(
    numbers: set[int], list_from: int, sharded: bool
) -> None:
    entries = [entry(n, sharded=sharded) for n in sorted(numbers)]
    planned = probes(entries, "output", list_from=list_from)
    requested = sorted(
        invocation.planned.number for probe in planned for invocation in probe.entries
    )
    assert requested == sorted(numbers)
    price = sum(12.5 if probe.folder else 1 for probe in planned)
    assert list_from == 2 or price <= len(entries)


def test_an_output_at_the_root_of_its_bucket_is_listed_too() -> None:
    entries = [entry(n) for n in range(1, 20)]
    for invocation in entries:
        invocation.output = f"s3://out/{invocation.planned.shard}/{invocation.planned.id}.out"
    assert probes(entries, "output", list_from=2) == [Probe("s3://out/tag/0", entries)]


def test_what_a_look_may_cost_counts_the_failures() -> None:
    invocation, other = entry(1), entry(2)
    assert cost(Probe("s3://out/results/tag/0", [invocation, other])) == 1
    for at in (invocation, other):
        at.failure = f"s3://out/errors/{at.planned.number}"
    assert cost(Probe("s3://out/results/tag/0", [invocation, other])) == 3
    assert cost(Probe(None, [invocation])) == 2
    for at in (invocation, other):
        at.failure = f"s3://out/failures/{at.planned.shard}/x"
    assert cost(Probe("s3://out/results/tag/0", [invocation, other])) == 2


def test_neighbours_are_the_other_open_invocations_of_the_folder() -> None:
    numbered = {n: entry(n) for n in (998, 999, 1000, 1001, 1002, 1003, 1999, 2000)}
    numbered[1001].claimed = True
    numbered[1002].state = State.PLANNED
    numbered[1003].output = None
    probe = Probe("s3://out/results/tag/1", [numbered[1000]])
    assert neighbours(probe, numbered.get) == [numbered[1999]]
