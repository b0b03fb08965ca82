"""SQS's rules, with the time as an argument."""

import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dispatcher.emulator.sqs.queue import MessageQueue, StoredMessage
from dispatcher.limits import SQS_IN_FLIGHT_MESSAGES


def filled(*bodies: str) -> MessageQueue:
    queue = MessageQueue()
    for n, body in enumerate(bodies):
        queue.send(body, message_id=f"m{n}", now=0.0)
    return queue


def take(queue: MessageQueue, now: float, max_messages: int = 10) -> list[str]:
    return [message.body for message in queue.receive(max_messages, now=now)]


def test_received_message_is_hidden_until_its_time_out() -> None:
    queue = filled("a")
    (first,) = queue.receive(1, now=0.0, visibility=5.0)
    assert take(queue, 4.9) == []
    (again,) = queue.receive(1, now=5.0)
    assert again is first
    assert again.receives == 2


def test_stale_handle_deletes_nothing_and_is_no_error() -> None:
    queue = filled("a")
    (message,) = queue.receive(1, now=0.0, visibility=1.0)
    stale = message.receipt
    queue.receive(1, now=2.0)
    queue.delete(stale)
    assert queue.counts(2.0) == (0, 1, 0)
    queue.delete(message.receipt)
    assert queue.counts(2.0) == (0, 0, 0)
    queue.delete(message.receipt)


def test_handle_deletes_after_its_time_out_if_no_other_receive_came() -> None:
    queue = filled("a")
    (message,) = queue.receive(1, now=0.0, visibility=1.0)
    receipt = message.receipt
    assert queue.has_visible(2.0)
    queue.delete(receipt)
    assert not queue.has_visible(2.0)
    assert take(queue, 100.0) == []


def test_visibility_can_be_changed_while_in_flight_only() -> None:
    queue = filled("a")
    (message,) = queue.receive(1, now=0.0, visibility=10.0)
    assert queue.change_visibility(message.receipt, 100.0, now=5.0)
    assert take(queue, 50.0) == []
    assert queue.change_visibility(message.receipt, 0.0, now=50.0)
    assert not queue.change_visibility(message.receipt, 10.0, now=50.0)
    assert take(queue, 50.0) == ["a"]


def test_delayed_message_comes_at_its_time() -> None:
    queue = MessageQueue()
    queue.send("a", message_id="m", now=0.0, delay=3.0)
    assert take(queue, 2.0) == []
    assert queue.next_wake() == 3.0
    assert take(queue, 3.0) == ["a"]


@pytest.mark.parametrize("receipt", ["nonsense", "1-x-m0", "1-1-other", "1-1-"])
def test_foreign_handle_is_refused(receipt: str) -> None:
    queue = filled("a")
    queue.receive(1, now=0.0)
    with pytest.raises(ValueError, match=receipt):
        queue.delete(receipt)


def test_full_flight_returns_nothing() -> None:
    queue = filled("last")
    queue._invisible = SQS_IN_FLIGHT_MESSAGES
    assert take(queue, 0.0) == []
    assert not queue.has_visible(0.0)


def test_delayed_messages_are_not_in_flight() -> None:
    queue = filled("now")
    for n in range(3):
        queue.send("later", message_id=f"later{n}", now=0.0, delay=60.0)
    assert queue.counts(0.0) == (1, 0, 3)
    queue._delayed += SQS_IN_FLIGHT_MESSAGES
    queue._invisible += SQS_IN_FLIGHT_MESSAGES
    assert take(queue, 0.0) == ["now"]


def test_purge_leaves_nothing() -> None:
    queue = filled("a", "b")
    queue.receive(1, now=0.0)
    queue.purge()
    assert queue.counts(0.0) == (0, 0, 0)
    assert take(queue, 1000.0) == []


def test_timers_of_deleted_messages_do_not_pile_up() -> None:
    queue = MessageQueue(visibility=43_200.0)
    for n in range(20_000):
        queue.send("x", message_id=f"m{n}", now=0.0)
        (message,) = queue.receive(1, now=0.0)
        queue.delete(message.receipt)
    assert len(queue._timers) <= 1001


def test_cost_of_a_call_does_not_grow_with_the_queue() -> None:
    def cost(waiting: int) -> float:
        queue = filled(*(["x"] * waiting))
        best = 1.0
        for _ in range(20):
            start = time.process_time()
            for _ in range(20):
                messages = queue.receive(10, now=0.0)
                for message in messages[:5]:
                    queue.delete(message.receipt)
                queue.change_visibility(messages[5].receipt, 60.0, now=0.0)
            best = min(best, time.process_time() - start)
        return best

    # Ten times the messages: linear calls would take ten times as long.
    assert cost(100_000) < 5 * cost(10_000)


def test_old_messages_are_dropped_in_flight_or_not() -> None:
    queue = MessageQueue(retention=100.0)
    for n in range(3):
        queue.send(f"{n}", message_id=f"m{n}", now=float(n))
    (flying,) = queue.receive(1, now=50.0, visibility=500.0)
    assert queue.counts(99.9) == (2, 1, 0)
    assert queue.counts(100.0) == (2, 0, 0)
    assert not queue.change_visibility(flying.receipt, 5.0, now=100.0)
    queue.delete(flying.receipt)
    assert take(queue, 101.0) == ["2"]
    assert queue.counts(102.0) == (0, 0, 0)
    assert not queue._visible


def test_message_that_stays_does_not_keep_the_ages_of_others() -> None:
    queue = filled("stays")
    queue.receive(1, now=0.0, visibility=43_200.0)
    for n in range(20_000):
        queue.send("x", message_id=f"n{n}", now=0.0)
        (message,) = queue.receive(1, now=0.0)
        queue.delete(message.receipt)
    assert len(queue._ages) <= 1010


RETENTION = 12


class QueueLaws(RuleBasedStateMachine):
    """Against the plainest model: a list of (message, visible from, current receipt)."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = MessageQueue(retention=RETENTION)
        self.now = 0.0
        self.born: dict[str, float] = {}
        self.alive: dict[str, float] = {}
        self.receipts: dict[str, str] = {}
        self.old: list[str] = []
        self.received: set[str] = set()
        self.sent = 0

    @rule(delay=st.sampled_from([0, 0, 2, 4]))
    def send(self, delay: int) -> None:
        self.sent += 1
        name = f"m{self.sent}"
        self.queue.send(name, message_id=name, now=self.now, delay=delay)
        self.alive[name] = self.now + delay
        self.born[name] = self.now

    @rule(max_messages=st.integers(1, 3), visibility=st.integers(0, 5))
    def receive(self, max_messages: int, visibility: int) -> None:
        visible = {name for name, when in self.alive.items() if when <= self.now}
        taken: list[StoredMessage] = self.queue.receive(
            max_messages, now=self.now, visibility=visibility
        )
        assert len(taken) == min(max_messages, len(visible))
        for message in taken:
            assert message.body in visible
            visible.discard(message.body)
            self.received.add(message.body)
            self.alive[message.body] = self.now + visibility
            if message.body in self.receipts:
                self.old.append(self.receipts[message.body])
            self.receipts[message.body] = message.receipt

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.receipts)))
        self.queue.delete(self.receipts.pop(name))
        del self.alive[name]

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), seconds=st.integers(0, 5))
    def change_visibility(self, data: st.DataObject, seconds: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.receipts)))
        flying = self.alive[name] > self.now
        changed = self.queue.change_visibility(self.receipts[name], seconds, now=self.now)
        assert changed == flying
        if flying:
            self.alive[name] = self.now + seconds

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def change_with_a_stale_handle(self, data: st.DataObject) -> None:
        stale = data.draw(st.sampled_from(self.old))
        assert not self.queue.change_visibility(stale, 100, now=self.now)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def delete_with_a_stale_handle(self, data: st.DataObject) -> None:
        self.queue.delete(data.draw(st.sampled_from(self.old)))

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        for name, born in self.born.items():
            if born + RETENTION <= self.now and name in self.alive:
                del self.alive[name]
                if name in self.receipts:
                    self.old.append(self.receipts.pop(name))

    @invariant()
    def counts_agree(self) -> None:
        visible = sum(when <= self.now for when in self.alive.values())
        hidden = {name for name, when in self.alive.items() if when > self.now}
        flying = len(hidden & self.received)
        assert self.queue.counts(self.now) == (visible, flying, len(hidden) - flying)


TestQueueLaws = QueueLaws.TestCase
TestQueueLaws.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
