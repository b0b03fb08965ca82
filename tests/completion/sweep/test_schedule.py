"""Probes are due by the schedule, and share requests where a LIST is cheaper."""

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
    table = SweepSchedule(first, pause, deadline)
    made = [table.next_probe(accepted_at, None)]
    while not table.is_over(accepted_at, made[-1]):
        made.append(table.next_probe(accepted_at, made[-1]))
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
    table = SweepSchedule(first, pause, deadline)
    after = later if looked_at is None else max(looked_at, later)
    assert table.next_probe(0.0, looked_at) <= table.next_probe(0.0, after)


def test_six_hours_take_fifteen_probes() -> None:
    table, looked_at, made = SweepSchedule(60.0, 60.0, 6.3 * HOUR), None, 0
    while looked_at is None or not table.is_over(0.0, looked_at):
        looked_at, made = table.next_probe(0.0, looked_at), made + 1
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
    one = entry(accepted_at=accepted_at)
    one.looked_at = looked_at
    due = SweepSchedule(60.0, 60.0, HOUR).due([one], 100.0, {})
    assert [who for *_, who in due] == ([one] if is_due else [])


def test_what_has_no_location_is_due_at_its_deadline() -> None:
    one = entry()
    one.output = None
    table = SweepSchedule(60.0, 60.0, HOUR)
    assert table.due([one], HOUR - 1, {}) == []
    assert table.due([one], HOUR, {}) == [(False, HOUR, 1, one)]


def test_a_deadline_before_the_expected_time_is_kept() -> None:
    one = entry()
    table = SweepSchedule(HOUR, 60.0, 100.0)
    assert table.due([one], 99.0, {}) == []
    assert table.due([one], 100.0, {}) == [(False, 100.0, 1, one)]


def test_deadlines_come_first_then_the_oldest_then_what_failed_before() -> None:
    failed_at_its_deadline, at_its_deadline, old, young = (
        entry(n, at) for n, at in enumerate((0.0, 0.0, 3000.0, 3500.0), 1)
    )
    everyone = [young, failed_at_its_deadline, old, at_its_deadline]
    postponed = {1: HOUR + 5}
    table = SweepSchedule(60.0, 60.0, HOUR)
    for now, order in (
        (HOUR + 4, [at_its_deadline, old, young]),
        (HOUR + 5, [at_its_deadline, old, young, failed_at_its_deadline]),
    ):
        assert [who for *_, who in sorted(table.due(everyone, now, postponed))] == order


def test_only_who_is_more_urgent_than_another_is_returned_if_so_asked() -> None:
    everyone = [entry(n, float(n)) for n in range(1, 10)]
    table = SweepSchedule(60.0, 60.0, HOUR)
    due = sorted(table.due(everyone, 200.0, {}))
    assert sorted(table.due(everyone, 200.0, {}, due[4])) == due[:4]


@given(
    budget=st.integers(1, 10),
    outputs_after=st.lists(st.floats(0, 300), min_size=1, max_size=60),
    failing=st.integers(0, 10),
)
def test_no_invocation_starves(budget: int, outputs_after: list[float], failing: int) -> None:
    """Serve the most urgent few every second, of which some always fail: all are served."""
    table = SweepSchedule(10.0, 10.0, 500.0)
    entries = [entry(n, at) for n, at in enumerate(outputs_after, 1)]
    broken = {one.planned.number for one in entries[:failing]}
    postponed: dict[int, float] = {}
    last = dict.fromkeys((one.planned.number for one in entries), 0.0)
    for now in range(1000):
        for *_, one in sorted(table.due(entries, now, postponed))[:budget]:
            number = one.planned.number
            last[number] = now
            if number in broken:
                postponed[number] = now + 15.0
            elif table.is_over(one.accepted_at or 0, now):
                entries.remove(one)
            else:
                one.looked_at = now
    assert {one.planned.number for one in entries} == broken
    assert all(now >= 500 for now in last.values())


def test_many_of_a_folder_are_listed_and_few_are_probed_singly() -> None:
    many = [entry(n) for n in range(1, LIST_FROM + 1)]
    few = [entry(n) for n in range(1000, 1000 + LIST_FROM - 1)]
    foreign = [entry(n, sharded=False) for n in range(2000, 2100)]
    planned = probes([*few, *many, *foreign], "output", list_from=LIST_FROM)
    lists = [probe for probe in planned if probe.folder is not None]
    assert lists == [Probe("s3://out/results/tag/0", many)]
    assert [probe for probe in planned if probe.folder is None] == [
        Probe(None, [one]) for one in (*few, *foreign)
    ]
    assert planned[0] == Probe(None, [few[0]]), "in their order"


def test_a_refused_bucket_is_not_listed_and_a_page_at_hand_is_used() -> None:
    some = [entry(n) for n in range(1, 4)]
    folder = "s3://out/results/tag/0"
    assert probes(some, "output", list_from=2) == [Probe(folder, some)]
    singly = [Probe(None, [one]) for one in some]
    assert probes(some, "output", list_from=2, refused={"out"}) == singly
    assert probes(some, "output", list_from=99) == singly
    assert probes(some, "output", list_from=99, listed={folder}) == [Probe(folder, some)]


@given(
    numbers=st.sets(st.integers(1, 5000), max_size=200),
    list_from=st.sampled_from([2, LIST_FROM]),
    sharded=st.booleans(),
)
def test_everybody_is_in_exactly_one_request(
    numbers: set[int], list_from: int, sharded: bool
) -> None:
    entries = [entry(n, sharded=sharded) for n in sorted(numbers)]
    planned = probes(entries, "output", list_from=list_from)
    numbers_probed = sorted(one.planned.number for probe in planned for one in probe.entries)
    assert numbers_probed == sorted(numbers)
    price = sum(12.5 if probe.folder else 1 for probe in planned)
    assert list_from == 2 or price <= len(entries)


def test_an_output_at_the_root_of_its_bucket_is_listed_too() -> None:
    entries = [entry(n) for n in range(1, 20)]
    for one in entries:
        one.output = f"s3://out/{one.planned.shard}/{one.planned.id}.out"
    assert probes(entries, "output", list_from=2) == [Probe("s3://out/tag/0", entries)]


def test_the_cost_of_a_probe_counts_the_failures() -> None:
    one, two = entry(1), entry(2)
    assert cost(Probe("s3://out/results/tag/0", [one, two])) == 1
    for at in (one, two):
        at.failure = f"s3://out/errors/{at.planned.number}"
    assert cost(Probe("s3://out/results/tag/0", [one, two])) == 3
    assert cost(Probe(None, [one])) == 2
    for at in (one, two):
        at.failure = f"s3://out/failures/{at.planned.shard}/x"
    assert cost(Probe("s3://out/results/tag/0", [one, two])) == 2


def test_neighbours_are_who_else_lies_in_the_folder_and_is_open() -> None:
    numbered = {n: entry(n) for n in (998, 999, 1000, 1001, 1002, 1003, 1999, 2000)}
    numbered[1001].claimed = True
    numbered[1002].state = State.PLANNED
    numbered[1003].output = None
    probe = Probe("s3://out/results/tag/1", [numbered[1000]])
    assert neighbours(probe, numbered.get) == [numbered[1999]]
