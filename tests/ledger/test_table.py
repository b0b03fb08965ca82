"""The table answers the same as a search of all outstanding invocations, after any changes."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.ledger.invocation import Entry, Planned, RecordRef, SpoolRef
from dispatcher.ledger.states import State
from dispatcher.ledger.table import InvocationTable
from dispatcher.records.record import Position


def entry(number: int, *, has_payload: bool = True, is_staged: bool = False) -> Entry:
    route = "s3" if is_staged else "inline"
    planned = Planned(number, f"id-{number}", "shard", "application/json", route, 1)  # type: ignore[arg-type]
    refs = [RecordRef(Position("a", n, n + 1, n + 1), n, 1) for n in range(number)]
    return Entry(planned, refs, SpoolRef(1, 0, 1, 0) if has_payload else None, 0, 0.0)


changes = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "accept", "claim", "unclaim", "leave", "reclaim", "restore", "remove"]
        ),
        st.integers(0, 50),
    ),
    max_size=40,
)


@given(changes, st.lists(st.tuples(st.booleans(), st.booleans()), max_size=5))
def test_any_changes_leave_the_table_equal_to_the_naive_model(
    changes: list[tuple[str, int]], loaded: list[tuple[bool, bool]]
) -> None:
    entries = {
        n: entry(n, has_payload=has_payload, is_staged=is_staged)
        for n, (has_payload, is_staged) in enumerate(loaded, 1)
    }
    table, left = InvocationTable(entries.values()), set[int]()
    last = len(entries)
    for change, choice in changes:
        live = list(entries.values())
        chosen = live[choice % len(live)] if live else None
        match change:
            case "add":
                last += 1
                entries[last] = entry(last)
                table.add([entries[last]])
            case "accept" if chosen:
                chosen.state = State.ACCEPTED
                chosen.output = f"s3://out/{chosen.planned.number}"
                table.index_outputs(chosen)
            case "claim" | "unclaim" if chosen:
                chosen.claimed = change == "claim"
            case "leave" if chosen:
                table.leave_to_next_process([chosen.planned.number, last + 1])
                left.add(chosen.planned.number)
            case "reclaim" if chosen:
                table.reclaim(chosen.planned.number)
                left.discard(chosen.planned.number)
            case "restore" if chosen:
                chosen.payload = SpoolRef(1, 0, 1, 0)
                table.payload_restored(chosen.planned.number)
            case "remove" if chosen:
                del entries[chosen.planned.number]
                table.remove(chosen)
                left.discard(chosen.planned.number)
                assert table.find_output(f"s3://out/{chosen.planned.number}") is None
        live = list(entries.values())
        assert table.entries == entries
        assert table.records == sum(len(e.record_refs) for e in live)
        assert table.without_payload() == [e for e in live if e.payload is None]
        assert table.with_payload == len([e for e in live if e.payload])
        assert table.planned() == [e for e in live if e.state is State.PLANNED]
        assert table.accepted() == [e for e in live if e.state is State.ACCEPTED and not e.claimed]
        assert table.claimed() == [e for e in live if e.claimed]
        assert table.left_to_next_process == len(left)
        assert table.is_idle == (entries.keys() == left)
        assert table.needs_staging == any(e.planned.route == "s3" for e in live)
        for e in live:
            if e.output:
                assert table.find_output(e.output) is e
