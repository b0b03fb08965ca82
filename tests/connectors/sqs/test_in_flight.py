"""Every message is one record, deleted only when it is settled, whatever the queue does."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dispatcher import limits
from dispatcher.connectors.sqs import in_flight as module
from dispatcher.connectors.sqs.in_flight import FORGET_SECONDS, Extension, InFlightMessages
from dispatcher.records.record import Position

VISIBILITY = 30.0
REMEMBERED = 6


@dataclass
class Log:
    """The messages that a ledger keeps."""

    next_number: int = 0
    outstanding: dict[str, Position] = field(default_factory=dict)
    settled: dict[str, float] = field(default_factory=dict)

    def is_idle(self) -> bool:
        return False

    def forget(self, names: Sequence[str]) -> None:
        for name in names:
            del self.settled[name]


def made(log: Log | None = None, *, visibility: float = VISIBILITY) -> InFlightMessages:
    return InFlightMessages(
        stream="q", log=log or Log(), visibility=visibility, rng=random.Random(1)
    )


class Machine(RuleBasedStateMachine):
    """A run on a queue that may deliver anything again, with crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.log = Log()
        self.names = 0
        self.queued: dict[str, str] = {}  # what the queue has, with the latest receipt
        self.gone: dict[str, float] = {}  # what it has not any more, and since when we know
        self.numbers: dict[str, int] = {}  # of all that was ever planned
        self.begin()

    def begin(self) -> None:
        self.in_flight = made(Log(self.log.next_number, self.log.outstanding, self.log.settled))
        self.read: dict[str, Position] = {}  # by this process
        self.extensions: list[Extension] = []
        self.taken: list[tuple[str, str]] = []
        self.received: set[str] = set()

    # The queue

    @rule()
    def send(self) -> None:
        self.names += 1
        self.queued[f"m{self.names}"] = ""

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.queued)))
        receipt = self.queued[name] = f"{name}-{random.Random(self.now).random()}"
        self.arrive(name, receipt)

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def deliver_what_was_deleted(self, data: st.DataObject) -> None:
        """Rarely a queue does, while the machine that kept it was away."""
        name = data.draw(st.sampled_from(sorted(self.gone)))
        if self.now - self.gone[name] < FORGET_SECONDS and name in self.log.settled:
            self.arrive(name, f"{name}-again")

    def arrive(self, name: str, receipt: str) -> None:
        position = self.in_flight.arrive(name, receipt, self.now)
        if position is None:
            assert name in self.read or name in self.log.settled, "nothing reads it"
        else:
            assert name not in self.read, "read twice"
            assert name not in self.log.settled, "read after its end"
            assert position.message == name
            assert position.start == self.numbers.get(name, position.start), "another number"
            assert position.start not in {
                at.start for other, at in self.read.items() if other != name
            }
            self.read[name] = position
        if name not in self.log.settled:
            self.received.add(name)
        self.tick(0.001)

    # The run

    @precondition(lambda self: self.unplanned())
    @rule()
    def plan(self) -> None:
        """In the order of reading, as the intake does."""
        name, position = self.unplanned()[0]
        assert position.start not in {
            number for other, number in self.numbers.items() if other != name
        }, "two messages with one number"
        self.numbers[name] = position.start
        self.log.outstanding[name] = position
        self.log.next_number = max(self.log.next_number, position.end)

    def unplanned(self) -> list[tuple[str, Position]]:
        return [
            (name, at)
            for name, at in self.read.items()
            if name not in self.log.outstanding and name not in self.log.settled
        ]

    @precondition(lambda self: self.log.outstanding)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.log.outstanding)))
        del self.log.outstanding[name]
        self.log.settled[name] = self.now
        self.received.discard(name)
        self.in_flight.settle(name, self.now)

    @rule()
    def take_deletions(self) -> None:
        if not self.taken:
            self.taken = self.in_flight.deletions()
            assert len(self.taken) <= 10
            assert {name for name, _ in self.taken} <= self.log.settled.keys()

    @precondition(lambda self: self.taken)
    @rule(how=st.sampled_from(["done", "done", "again", "stale"]))
    def delete(self, how: str) -> None:
        name, receipt = self.taken.pop()
        if how == "again":
            self.in_flight.not_deleted(name, receipt)
        elif how == "stale":
            self.in_flight.undeletable(name, self.now)
        else:
            self.in_flight.deleted(name, self.now)
            if self.queued.get(name) == receipt:  # another one leaves the message
                del self.queued[name]
                self.gone[name] = self.now

    @rule()
    def take_beats(self) -> None:
        if not self.extensions:
            self.extensions = self.in_flight.due_extensions(self.now)
            assert len(self.extensions) <= 10
            assert {extension.name for extension in self.extensions} <= self.received

    @precondition(lambda self: self.extensions)
    @rule(how=st.sampled_from(["done", "done", "again", "stale"]))
    def extension(self, how: str) -> None:
        extension = self.extensions.pop()
        {
            "done": self.in_flight.extended,
            "again": self.in_flight.not_extended,
            "stale": self.in_flight.stale,
        }[how](extension, self.now)

    @rule(seconds=st.sampled_from([0.0, 1.0, 8.0, 40.0, FORGET_SECONDS + 1, 1_209_601.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def forget(self) -> None:
        with mock.patch.object(module, "REMEMBERED", REMEMBERED):
            names = self.in_flight.forget(self.now)
        self.log.forget(names)
        kept = self.in_flight.deletable + len(self.taken)
        assert len(self.log.settled) <= REMEMBERED + kept
        for name in names:
            # A sender that sends it again now sends a new message.
            self.queued.pop(name, None)
            self.gone.pop(name, None)
            self.read.pop(name, None)

    @rule()
    def crash(self) -> None:
        self.begin()

    @invariant()
    def all_that_is_settled_and_here_will_be_deleted(self) -> None:
        unsettled = self.read.keys() - self.log.settled.keys()
        assert self.in_flight.unsettled == len(unsettled)

    @invariant()
    def bounded(self) -> None:
        assert len(self.in_flight._timers) <= 2 * len(self.in_flight._unsettled) + 1_001


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


def test_an_outstanding_message_of_an_earlier_process_is_read_once_with_its_number() -> None:
    old = Position("q", 3, 4, 4, "old")
    in_flight = made(Log(7, {"old": old}))
    assert in_flight.unsettled == 0
    assert in_flight.arrive("old", "r1", 0.0) == old
    assert in_flight.arrive("old", "r2", 1.0) is None
    assert in_flight.arrive("new", "r1", 1.0) == Position("q", 7, 8, 8, "new")
    assert in_flight.unsettled == 2
    in_flight.settle("old", 2.0)
    assert in_flight.deletions() == [("old", "r2")]


def test_one_that_is_settled_before_it_comes_again_is_only_deleted() -> None:
    in_flight = made(Log(7, {"old": Position("q", 3, 4, 4, "old")}, {"done": 0.0}))
    in_flight.settle("old", 1.0)
    assert in_flight.deletions() == []
    assert in_flight.arrive("old", "r", 2.0) is None
    assert in_flight.arrive("done", "d", 2.0) is None
    assert in_flight.deletions() == [("old", "r"), ("done", "d")]
    assert in_flight.unsettled == 0


def test_a_deletion_under_way_with_a_stale_receipt_is_made_again_with_the_new_one() -> None:
    in_flight = made()
    in_flight.arrive("m", "r1", 0.0)
    in_flight.settle("m", 1.0)
    assert in_flight.deletions() == [("m", "r1")]
    in_flight.arrive("m", "r2", 2.0)
    in_flight.deleted("m", 3.0)
    assert in_flight.deletions() == [("m", "r2")]
    in_flight.arrive("m", "r3", 4.0)
    in_flight.not_deleted("m", "r2")
    assert in_flight.deletions() == [("m", "r3")]


def test_a_deleted_message_is_known_for_five_minutes_and_one_that_is_not_for_two_weeks() -> None:
    log = Log(settled={"there": 0.0})
    in_flight = made(log)
    in_flight.arrive("m", "r", 0.0)
    in_flight.settle("m", 0.0)
    in_flight.deletions()
    in_flight.deleted("m", 10.0)
    assert in_flight.forget(10.0 + FORGET_SECONDS - 1) == []
    assert in_flight.forget(10.0 + FORGET_SECONDS) == ["m"]
    assert in_flight.forget(1_209_599.0) == []
    assert in_flight.forget(1_209_600.0) == ["there"]
    assert in_flight.arrive("m", "r", 1_209_600.0) is not None


def test_a_deleted_message_is_known_while_an_earlier_delivery_may_hide_it() -> None:
    in_flight = made(visibility=3_600.0)
    in_flight.arrive("m", "r", 0.0)
    in_flight.settle("m", 0.0)
    in_flight.deletions()
    in_flight.deleted("m", 0.0)
    assert in_flight.forget(3_599.0) == []
    assert in_flight.forget(3_600.0) == ["m"]


def beat_all(in_flight: InFlightMessages, now: float) -> dict[str, int]:
    """Hide all that is due; return for how long."""
    hidden: dict[str, int] = {}
    while extensions := in_flight.due_extensions(now):
        for extension in extensions:
            hidden[extension.name] = extension.seconds
            in_flight.extended(extension, now)
    return hidden


def test_messages_are_hidden_again_between_a_third_and_a_half_of_their_time() -> None:
    in_flight = made()
    for n in range(100):
        in_flight.arrive(f"m{n}", "r", 0.0)
    assert beat_all(in_flight, 9.9) == {}
    first = beat_all(in_flight, 11.0)
    assert 0 < len(first) < 100
    rest = beat_all(in_flight, 15.0)
    assert {*first, *rest} == {f"m{n}" for n in range(100)}
    assert set(first.values()) | set(rest.values()) == {30}


def test_ten_share_a_call_also_where_not_all_of_them_are_due_yet() -> None:
    in_flight = made()
    for n in range(10):
        in_flight.arrive(f"m{n}", "r", n * 0.1)
    first = in_flight.next_extension
    assert first is not None
    assert 5 <= len(in_flight.due_extensions(first)) <= 10


def test_nothing_is_hidden_beyond_twelve_hours() -> None:
    in_flight = made(visibility=3_600.0)
    in_flight.arrive("m", "r", 0.0)
    now, until = 0.0, 3_600.0
    while (due := in_flight.next_extension) is not None:
        assert now <= due < until
        now = due
        for extension in in_flight.due_extensions(now):
            in_flight.extended(extension, now)
            until = now + extension.seconds
            assert until <= limits.SQS_VISIBILITY_SECONDS
    assert until >= limits.SQS_VISIBILITY_SECONDS - 120
    # The next delivery begins another twelve hours.
    assert in_flight.arrive("m", "r2", until) is None
    assert in_flight.next_extension is not None


@pytest.mark.parametrize("visibility", [1.0, 43_200.0])
def test_the_shortest_and_the_longest_time_outs(visibility: float) -> None:
    in_flight = made(visibility=visibility)
    in_flight.arrive("m", "r", 0.0)
    hidden = beat_all(in_flight, visibility / 2)
    assert hidden == ({"m": 1} if visibility == 1.0 else {})


def test_a_stale_receipt_is_not_used_again() -> None:
    in_flight = made()
    in_flight.arrive("m", "r", 0.0)
    (extension,) = in_flight.due_extensions(15.0)
    in_flight.stale(extension, 15.0)
    assert in_flight.lost == 15.0
    assert in_flight.next_extension is None
    in_flight.arrive("m", "r2", 40.0)
    (extension,) = in_flight.due_extensions(55.0)
    assert extension.receipt == "r2"


def test_news_of_a_former_receipt_change_nothing() -> None:
    in_flight = made()
    in_flight.arrive("m", "r", 0.0)
    (extension,) = in_flight.due_extensions(15.0)
    in_flight.arrive("m", "r2", 15.0)
    due = in_flight.next_extension
    for news in (in_flight.stale, in_flight.extended, in_flight.not_extended):
        news(extension, 15.0)
        assert in_flight.next_extension == due
    assert in_flight.lost == float("-inf")


def hold(messages: int, calls_per_second: float, seconds: float) -> Mapping[str, float]:
    """Keep messages hidden by so many calls, one after the other; return when each was lost."""
    in_flight = made()
    until = {f"m{n}": VISIBILITY for n in range(messages)}
    for name in until:
        in_flight.arrive(name, "r", 0.0)
    lost: dict[str, float] = {}
    now = 0.0
    while now < seconds:
        extensions = in_flight.due_extensions(now)
        for extension in extensions:
            if until[extension.name] < now:
                lost.setdefault(extension.name, now)
                in_flight.stale(extension, now)
            else:
                until[extension.name] = now + extension.seconds
                in_flight.extended(extension, now)
        if not extensions and in_flight.next_extension is None:
            break
        now = (
            now + 1 / calls_per_second if extensions else max(in_flight.next_extension or now, now)
        )
    return {name: at for name, at in until.items() if at < seconds} | lost


def test_none_starves_while_there_are_calls_enough() -> None:
    """3,000 messages take 300 calls each ten seconds at the least."""
    assert hold(3_000, calls_per_second=40, seconds=600.0) == {}


def test_under_a_backlog_as_many_are_kept_as_there_are_calls_for() -> None:
    """Calls for those that cannot be saved any more would make all the others late, again and
    again."""
    lost = hold(3_000, calls_per_second=10, seconds=600.0)
    assert 3_000 - len(lost) >= 1_000
