"""A queue as a sink: what does not fit is marked, what fails is sent again, nothing is left out."""

import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import limits
from dispatcher.connectors.outcome_lines import dead_letter_line, result_line
from dispatcher.connectors.sqs import sink as sqs
from dispatcher.connectors.sqs.sink import SqsSink, batched, sendable, without_content
from dispatcher.emulator.sqs.messages import FORBIDDEN
from dispatcher.errors import CallError, Denied, Rejected, RunStopped, Throttled, Transient
from dispatcher.flow.content import FileSlice
from dispatcher.ledger.outcome import Outcome
from dispatcher.records.record import Position
from dispatcher.retry.outage_timer import OutageTimer

URL = "https://sqs.eu-west-1.amazonaws.com/1/out"
Wrong = CallError | Denied | dict[int, CallError] | None
FAILED = Transient("failed", code="InternalError")


def line(outcome: Outcome) -> bytes:
    return result_line(outcome, "output", meta=False)


def completed(key: str, output: bytes = b"1", **more: str) -> Outcome:
    return Outcome(Position("f", 0, 1, 1), key, "completed", output, None, **more)  # type: ignore[arg-type]


def dead(key: str, message: str = "no", **more: bytes | FileSlice) -> Outcome:
    at = Position("f", 0, 1, 1)
    return Outcome(at, key, "rejected", None, None, "bad_json", message, **more)  # type: ignore[arg-type]


@dataclass
class Queue:
    """Takes messages, after the errors that a test puts into ``wrong``."""

    shown_attributes: Mapping[str, str] | None = field(default_factory=dict)
    wrong: list[Wrong] = field(default_factory=list)
    wrong_attributes: list[CallError] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    at_once: int = 0
    peak: int = 0
    url: str = URL

    async def send(self, bodies: Sequence[str]) -> Mapping[int, CallError]:
        self.calls.append(list(bodies))
        self.at_once += 1
        self.peak = max(self.peak, self.at_once)
        await anyio.lowlevel.checkpoint()
        self.at_once -= 1
        wrong = self.wrong.pop(0) if self.wrong else None
        if isinstance(wrong, Exception):
            raise wrong
        failed = wrong or {}
        self.sent += [body for index, body in enumerate(bodies) if index not in failed]
        return failed

    async def attributes(self) -> Mapping[str, str] | None:
        await anyio.lowlevel.checkpoint()
        if self.wrong_attributes:
            raise self.wrong_attributes.pop(0)
        return self.shown_attributes


def sink(queue: Queue, *, give_up_after: float = 60.0) -> SqsSink:
    outage_timer = OutageTimer(
        give_up_after=give_up_after,
        monotonic=anyio.current_time,
        symptom=f"{URL} could not be sent to",
    )
    return SqsSink(queue=queue, render=line, outage_timer=outage_timer, rng=random.Random(1))


async def test_each_outcome_is_a_message_ten_a_call_and_some_calls_at_once() -> None:
    queue = Queue()
    await sink(queue).write([completed(f"k{n}") for n in range(195)])
    assert sorted(queue.sent) == sorted(
        f'{{"key":"k{n}","status":"completed","output":1}}' for n in range(195)
    )
    assert [len(call) for call in queue.calls] == 19 * [10] + [5]
    assert queue.peak == sqs.CALLS


async def test_what_fails_is_sent_again_alone() -> None:
    queue = Queue(wrong=[{1: FAILED, 3: Throttled("slow")}, FAILED, {0: FAILED}])
    await sink(queue).write([completed(key) for key in "abcde"])
    keys = [[json.loads(body)["key"] for body in call] for call in queue.calls]
    assert keys == [list("abcde"), ["b", "d"], ["b", "d"], ["b"]]
    assert sorted(json.loads(body)["key"] for body in queue.sent) == list("abcde")


async def test_a_queue_that_never_answers_ends_the_run() -> None:
    queue = Queue(wrong=[FAILED] * 1_000)
    began = anyio.current_time()
    with pytest.raises(ExceptionGroup) as raised:
        await sink(queue).write([completed("a")])
    assert raised.group_contains(RunStopped, match=r"out could not be sent to in 1 minutes")
    assert 60 <= anyio.current_time() - began <= 100


async def test_one_message_that_always_fails_ends_it_too() -> None:
    queue = Queue(wrong=[{0: FAILED} for _ in range(1_000)])
    with pytest.raises(ExceptionGroup) as raised:
        await sink(queue).write([completed("a"), completed("b")])
    assert raised.group_contains(RunStopped)
    assert [json.loads(body)["key"] for body in queue.sent] == ["b"]


@pytest.mark.parametrize("wrong", [Rejected("bad"), {1: Rejected("bad")}], ids=["whole", "entry"])
async def test_what_is_refused_for_good_stops_the_run(wrong: Wrong) -> None:
    queue = Queue(wrong=[wrong])
    with pytest.raises(ExceptionGroup) as raised:
        await sink(queue).write([completed("a"), completed("b")])
    assert raised.group_contains(RunStopped, match="refuses a result or dead letter for good: bad")


async def test_no_permission_stops_it_at_once() -> None:
    queue = Queue(wrong=[Denied("no")])
    with pytest.raises(ExceptionGroup) as raised:
        await sink(queue).write([completed("a")])
    assert raised.group_contains(Denied)
    assert len(queue.calls) == 1


async def test_the_queue_says_how_long_a_message_may_be() -> None:
    queue = Queue({"MaximumMessageSize": "1024"}, wrong_attributes=[FAILED])
    where = "s3://out/1.out"
    outcomes = [completed("short"), completed("long", b'"%b"' % (b"x" * 2_000), location=where)]
    await sink(queue).write(outcomes)
    results = {json.loads(body)["key"]: json.loads(body) for body in queue.sent}
    assert "omitted" not in results["short"]
    assert results["long"] == {
        "key": "long",
        "status": "completed",
        "output": None,
        "omitted": "the line has 2047 bytes, a message of this queue at most 1024",
        "location": where,
    }


async def test_who_may_not_ask_takes_the_most_that_sqs_takes() -> None:
    queue = Queue(shown_attributes=None)
    await sink(queue).write([completed("long", b'"%b"' % (b"x" * 1_000_000))])
    assert "omitted" not in json.loads(queue.sent[0])


async def test_a_key_that_fits_no_message_stops_the_run() -> None:
    queue = Queue({"MaximumMessageSize": "1024"})
    with pytest.raises(RunStopped, match="Raise that"):
        await sink(queue).write([completed("k" * 1_020)])
    assert queue.calls == []


def test_a_dead_letter_loses_its_input_first_and_then_most_of_its_message() -> None:
    long = dead("k", "m" * 3_000, input=b"x" * 5_000)
    short = replace(long, message="no")
    for outcome, message in ((long, "m" * 200), (short, "no")):
        line = json.loads(without_content(outcome, dead_letter_line, 9_000, 1_024))
        assert line == {
            "key": "k",
            "status": "rejected",
            "reason": "bad_json",
            "message": message,
            "attempts": 0,
            "input": None,
            "omitted": "the line has 9000 bytes, a message of this queue at most 1024",
        }


async def test_a_large_input_is_left_out_without_being_read(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"1")
    blob = FileSlice(os.open(tmp_path / "blob", os.O_RDONLY), 0, 900_000_000)
    queue = Queue()
    to_queue = replace(sink(queue), render=dead_letter_line)
    await to_queue.write([dead("k", "no", input=blob)])
    line = json.loads(queue.sent[0])
    assert line["input"] is None
    assert line["omitted"].startswith("the line has at least 900000000 bytes, a message of this")
    with pytest.raises(OSError, match="Bad file descriptor"):
        blob.read()


def test_with_both_joined_and_meta_the_rest_of_the_line_is_kept() -> None:
    outcome = completed("k", b"[" + b"1," * 1_000 + b"1]")
    line = json.loads(
        without_content(outcome, lambda o: result_line(o, "both", meta=True), 2_100, 1_024)
    )
    assert (line["output"], line["input"], line["meta"]) == (None, None, None)
    assert line["location"] is None


@given(st.lists(st.integers(1, 300), max_size=60))
def test_calls_are_filled_in_order_and_never_over_a_limit(sizes: list[int]) -> None:
    messages = [bytes([n % 256]) * size for n, size in enumerate(sizes)]
    batches = list(batched(messages, 300))
    assert [message for batch in batches for message in batch] == messages
    for batch in batches:
        assert 1 <= len(batch) <= limits.SQS_BATCH_ENTRIES
        assert sum(map(len, batch)) <= 300
    for one, other in pairwise(batches):
        assert len(one) == limits.SQS_BATCH_ENTRIES or sum(map(len, one)) + len(other[0]) > 300


values = st.recursive(
    st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_any_value_can_be_sent_and_is_the_same_to_its_reader(value: object) -> None:
    output = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    line_ = line(completed("\uffff", output))
    sent = sendable(line_)
    assert not FORBIDDEN.search(sent.decode())
    assert json.loads(sent) == json.loads(line_)


def test_characters_that_sqs_refuses_are_escaped() -> None:
    line_ = '{"a\ufffe":"\uffff\ufffd😀"}'.encode()
    assert sendable(line_) == '{"a\\ufffe":"\\uffff\ufffd😀"}'.encode()
