"""Deliberate breaks of the product, each against a law: the checker must catch all of them.

They replace functions while a simulation runs; no file is touched.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any
from unittest import mock

import anyio

from dispatcher import limits
from dispatcher.completion import joiner, listener, outcomes
from dispatcher.completion.sweep.sweeper import Sweeper
from dispatcher.connectors.jsonl import sink as jsonl
from dispatcher.connectors.jsonl.sink import JsonlFile
from dispatcher.connectors.sqs.sink import SqsSink
from dispatcher.dispatch import resend as departures
from dispatcher.dispatch import sender
from dispatcher.dispatch.acceptance import AcceptanceProbe
from dispatcher.dispatch.intake import Intake
from dispatcher.dispatch.staging import stager
from dispatcher.dispatch.staging.cleanup import StagedObjectCleanup
from dispatcher.dispatch.staging.recent_writes import RecentWrites
from dispatcher.flow.budget import Reservation
from dispatcher.ledger import ids, ledger
from dispatcher.ledger import replacement as renewal
from dispatcher.ledger.group_commit import GroupCommit
from dispatcher.ledger.ids import InvocationNumbers
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import Count, Operation, Plan, Replace, Settle, SinkMark
from dispatcher.ledger.outcome import Settlement
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.ledger.replacement import PARTS
from dispatcher.ledger.replay import ReplayFilter, Seen
from dispatcher.ledger.staged_objects import StagedObjects
from dispatcher.ledger.store.sqlite import SqliteStore
from dispatcher.ledger.watermark import Watermark
from dispatcher.packing import response_split as answers
from dispatcher.packing.response_split import Mismatch, Outputs
from dispatcher.reasons import Reason
from dispatcher.records.record import Item
from dispatcher.records.source import Mark
from dispatcher.retry import invocations
from dispatcher.retry.invocations import DeadLetter, Next, RetryInvocation, SplitBudget
from dispatcher.run.settler import Settler
from tests.simulation.simulate import Report, simulate

Mutant = Callable[[], AbstractContextManager[object]]


def hunt(name: str, seeds: Iterable[int], laws: Collection[str] = ()) -> Report | None:
    """Return the first report of a broken law while the product is broken; None: not caught.

    Args:
        name: Of the mutant.
        seeds: To be tried.
        laws: Those that count; none: all.
    """
    with MUTANTS[name]():
        for seed in seeds:
            report = simulate(seed)
            if any(not laws or violation.law in laws for violation in report.violations):
                return report
    return None


def _with(owner: Any, name: str, value: Any) -> Mutant:
    return lambda: mock.patch.object(owner, name, value)


_write, _invocation_id, _split = GroupCommit.write, ids.invocation_id, answers.split
_planned, _find_id, _take = InvocationNumbers.next_attempt, Ledger.find_id, Intake._take
_write_one, _follow, _init_staged = (
    SqliteStore._write,
    invocations.after_failed_invocation,
    StagedObjects.__init__,
)


async def _write_plans_later(self: GroupCommit, *operations: Operation) -> None:
    """Go on before an intent is durable."""
    if any(isinstance(operation, Plan) for operation in operations):
        for operation in operations:
            self.later(operation)
        return
    await _write(self, *operations)


async def _write_without_closing(self: GroupCommit, *operations: Operation) -> None:
    """Forget the sinks' positions when invocations are closed."""
    for operation in operations:
        if isinstance(operation, Settle) and operation.entries:
            operation.sinks.clear()
    await _write(self, *operations)


def _claim_always(self: Ledger, entry: Any) -> bool:
    return self.find(entry.planned.number) is entry


async def _settle_first(self: Settler, group: Sequence[Settlement]) -> None:
    completed = [o for s in group for o in s.outcomes if o.status == "completed"]
    dead = [o for s in group for o in s.outcomes if o.status != "completed"]
    await self.ledger.settle(group, {})
    for sink, some in ((self.results, completed), (self.dead_letters, dead)):
        if some:
            await sink.write(some)
    self._report(group, completed, dead)


def _no_cut(_path: str, file: int, mark: SinkMark, *, is_new: bool) -> bytes:
    length = min(mark.position, jsonl.TAIL_BYTES)
    return os.pread(file, length, mark.position - length)


async def _never_there(_self: AcceptanceProbe, _planned: Any) -> bool:
    return False


async def _find_nothing(_self: Sweeper) -> list[Any]:
    await anyio.sleep(60)
    return []


async def _all_the_room(_self: Ledger, wanted: int) -> int:
    return wanted


def _all_new(_self: ReplayFilter, _position: Any) -> tuple[Seen, None]:
    return Seen.NEW, None


def _settle_up_to(self: Watermark, position: Any) -> None:
    """Move the mark over gaps."""
    if position.end > self.mark.offset:
        self.mark, self._moved = Mark(position.end, position.line), True


def _reversed_outputs(*arguments: Any, **options: Any) -> Outputs | Mismatch:
    outputs = _split(*arguments, **options)
    if isinstance(outputs, Outputs):
        outputs.values.reverse()
    return outputs


def _read_unchecked(self: Spool, ref: Any) -> bytes:
    try:
        payload = os.pread(self._file(ref.segment), ref.size, ref.offset)
    except FileNotFoundError:
        payload = b""
    return payload.ljust(ref.size, b" ")


def _planned_under_the_old_id(self: InvocationNumbers, old: Planned, size: int) -> Planned:
    """Give a new attempt the id of the old one."""
    return replace(_planned(self, old, size), id=old.id)


def _find_any(self: Ledger, invocation: str) -> tuple[bool, Entry | None]:
    """Let an event of a closed invocation settle a later attempt."""
    ours, entry = _find_id(self, invocation)
    later = (e for e in self.planned() + self.accepted() if e.attempt > 1)
    return ours, entry or (next(later, None) if ours else None)


def _find_a_part(self: Ledger, invocation: str) -> tuple[bool, Entry | None]:
    """Let an event of an invocation that was split settle one of its parts."""
    ours, entry = _find_id(self, invocation)
    parts = (e for e in self.planned() + self.accepted() if e.first_attempt > 1)
    return ours, entry or (next(parts, None) if ours else None)


def _replace_in_two(self: SqliteStore, operation: Operation) -> None:
    """Commit in between when parts take the place of an invocation."""
    if not isinstance(operation, Replace) or len(operation.new) == 1:
        _write_one(self, operation)
        return
    self._delete([operation.old])
    self._db.execute("COMMIT")
    self._db.execute("BEGIN IMMEDIATE")
    self._insert(operation.new)
    self._spool.share([entry.payload for entry in operation.new[1:] if entry.payload])


def _overlapping(bounds: Sequence[int]) -> list[tuple[int, int]]:
    return [(max(0, start - 1), end) for start, end in pairwise(bounds)]


def _without_the_last(bounds: Sequence[int]) -> list[tuple[int, int]]:
    *all_but_one, (start, end) = pairwise(bounds)
    return [*all_but_one, (start, max(start + 1, end - 1))]


def _never_split(reason: Reason, **given: Any) -> Next:
    after = _follow(reason, **given)
    return DeadLetter() if isinstance(after, RetryInvocation) and after.parts > 1 else after


def _by_position(outputs: Outputs, *_: Any, **__: Any) -> Outputs:
    """Pair outputs that name their records by their order."""
    return outputs


async def _write_without_parts(self: GroupCommit, *operations: Operation) -> None:
    kept = [op for op in operations if not (isinstance(op, Count) and op.name == PARTS)]
    await _write(self, *kept)


@contextmanager
def _deleting_always() -> Iterator[None]:
    """Delete whatever the configuration says."""

    def init(self: StagedObjects, store: Any, commits: Any, **_: Any) -> None:
        _init_staged(self, store, commits, deletes=True)

    def cleanup(**arguments: Any) -> StagedObjectCleanup:
        return StagedObjectCleanup(**{**arguments, "is_enabled": True})

    with (
        mock.patch.object(StagedObjects, "__init__", init),
        mock.patch.object(stager, "StagedObjectCleanup", cleanup),
    ):
        yield


async def _take_and_acknowledge(self: Intake, items: Sequence[Item]) -> None:
    self.source.acknowledge([item.position for item in items])
    await _take(self, items)


def _discard_when_one_is_closed(self: StagedObjects, locations: Iterable[str]) -> list[str]:
    """Forget that others may use the same object."""
    gone = [location for location in set(locations) if self._uses.pop(location, None)]
    return gone if self._deletes else []


async def _send_nothing(_self: SqsSink, _outcomes: Any) -> None:
    """Say that it was sent."""


def _names() -> Callable[[str], str]:
    count = iter(range(10**9))
    return lambda _invocation: f"{next(count)}.out"


MUTANTS: dict[str, Mutant] = {
    "acknowledge before the outcome": _with(listener, "is_useless", lambda *_: True),
    "send before the intent is durable": _with(GroupCommit, "write", _write_plans_later),
    "settle twice": _with(Ledger, "claim", _claim_always),
    "do not cut back the results": _with(jsonl, "_cut_back", _no_cut),
    "settle before the sink": _with(Settler, "_settle", _settle_first),
    "do not sync the results": _with(JsonlFile, "sync", lambda _: None),
    "forget the sink's position": _with(GroupCommit, "write", _write_without_closing),
    "send again without a look": _with(AcceptanceProbe, "was_accepted", _never_there),
    "read known records as new": _with(ReplayFilter, "look_up", _all_new),
    "move the mark over gaps": _with(Watermark, "settle", _settle_up_to),
    "ignore the inline limit": _with(limits, "INLINE_BODY_BYTES", 10**9),
    "plan more than is allowed": _with(Ledger, "wait_for_room", _all_the_room),
    "never sweep": _with(Sweeper, "sweep", _find_nothing),
    "keep the memory": _with(Reservation, "release", lambda _: None),
    "give an id twice": lambda: mock.patch.object(
        ids, "invocation_id", lambda tag, number: _invocation_id(tag, number // 2 * 2)
    ),
    "give a new attempt the old id": _with(
        InvocationNumbers, "next_attempt", _planned_under_the_old_id
    ),
    "let a late event settle a new attempt": _with(Ledger, "find_id", _find_any),
    "send again before the events are heard": _with(departures, "_DRAIN_SECONDS", 0.0),
    "delete a message when it is read": _with(Intake, "_take", _take_and_acknowledge),
    "settle before a queue has the line": _with(SqsSink, "write", _send_nothing),
    "name the output again for each call": lambda: mock.patch.object(sender, "filename", _names()),
    "give outputs to other records": _with(outcomes, "split", _reversed_outputs),
    "plan parts in a transaction of their own": _with(SqliteStore, "_write", _replace_in_two),
    "let parts overlap": _with(renewal, "pairwise", _overlapping),
    "leave a record out of the parts": _with(renewal, "pairwise", _without_the_last),
    "let a late event settle a part": _with(Ledger, "find_id", _find_a_part),
    "never split": _with(joiner, "after_failed_invocation", _never_split),
    "split without a budget": _with(SplitBudget, "left", property(lambda _: 10**9)),
    "do not count parts": _with(GroupCommit, "write", _write_without_parts),
    "pair outputs with ids by their order": _with(answers, "_in_order", _by_position),
    "delete what others still use": _with(StagedObjects, "_unused", _discard_when_one_is_closed),
    "delete what is staged again": _with(StagedObjects, "is_used", lambda *_: False),
    "take deleted objects to be there": _with(RecentWrites, "forget", lambda *_: None),
    "forget to discard": _with(StagedObjects, "close", lambda *_: []),
    "forget discarded objects in a crash": _with(SqliteStore, "_discard", lambda *_: None),
    "forget what earlier processes discarded": _with(SqliteStore, "discarded", lambda *_: []),
    "delete without being asked": _deleting_always,
    "forget the totals": _with(ledger, "tallies_of", lambda _: {}),
    "trust the spool": _with(Spool, "read", _read_unchecked),
}
