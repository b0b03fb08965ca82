"""The laws of a run, checked on its history alone. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

from tests.simulation.ending import Lived, judge
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
    Final,
    Found,
    Line,
    Looked,
    Missed,
    Polled,
    Removed,
    Sent,
    Signalled,
    Sink,
    Stopped,
    Synced,
    Taken,
    Terms,
    Undeleted,
    Unstaged,
    Wrote,
)

INLINE_BODY_BYTES = 128_000
"""As the service's model says; not taken from the code that is checked."""

DRAIN_SECONDS = 5.0
"""Seconds for which events of the meantime have to be waited for before a repeated call."""

IMMEDIATELY, SLOWNESS = 0.0, 3.0
"""Seconds that a process may take to end after a second signal; and how much the disk may add, in
seconds."""

ENOUGH = 20
"""Violations of one run that are worth telling."""


@dataclass(slots=True, frozen=True)
class Violation:
    """A law that was broken, and how.

    Attributes:
        law: Its name.
        text: What happened.
        at: Seconds since the beginning.
    """

    law: str
    text: str
    at: float

    def __str__(self) -> str:
        return f"{self.at:.3f} {self.law}: {self.text}"


def check(history: Sequence[Event], terms: Terms) -> list[Violation]:
    """Return what is against the laws in a history, in order; empty if nothing is."""
    checker = _Checker(terms)
    for event in history:
        checker.take(event)
        if len(checker.violations) >= ENOUGH:
            return checker.violations
    if not checker.is_over:
        checker.blame("every run ends", "the history ends before the run")
    return checker.violations


@dataclass(slots=True)
class _Calls:
    """The calls of one invocation so far.

    Attributes:
        first: The first one, which all others have to equal.
        life: The process that made the last one.
        on_wire: The last one is not answered, and its process lives.
        answer: How the last one was answered, or None.
        unsure: One may have been accepted unseen.
        could_look: It was known where its output goes when that came to be known.
        looked: Its output was looked for since.
    """

    first: Called
    life: int
    on_wire: bool = True
    answer: Answer | None = None
    unsure: bool = False
    could_look: bool = False
    looked: bool = False


@dataclass(slots=True)
class _File:
    """A sink: its lines in order, how far it is synced, and how far it belongs to the run."""

    lines: list[Line] = field(default_factory=list)
    synced: int = 0
    mark: int = 0
    marked: int = 0  # lines up to the mark


class _Checker:
    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.violations: list[Violation] = []
        self.is_over = False
        self._at = 0.0
        self._life = 0
        self._open: dict[str, tuple[int, ...]] = {}
        self._closed: set[str] = set()
        self._ever: dict[str, tuple[int, ...]] = {}
        self._accepted: set[str] = set()
        self._calls: dict[str, _Calls] = {}
        self._sinks: dict[Sink, _File] = {"results": _File(), "dead": _File()}
        self._settled: set[int] = set()
        self._sent: set[int] = set()
        self._lost = 0
        self._in_flight: Counter[int] = Counter()
        self._taken_at: dict[str, float] = {}
        self._over: set[str] = set()
        self._failed: set[str] = set()
        self._refused: set[str] = set()
        self._heard_all = False
        self._began = self._end_by = 0.0
        self._repeated: set[str] = set()
        self._lived = Lived()
        self._base_known = False

    def blame(self, law: str, text: str) -> None:
        self.violations.append(Violation(law, text, self._at))

    def take(self, event: Event) -> None:
        self._at, self._life = event.at, event.life
        match event.fact:
            case Began():
                self._begin()
            case Found(ids):
                self._find(ids)
            case Committed() as commit:
                self._commit(commit)
            case Called() as call:
                self._call(call)
            case Answered(id_, answer):
                self._answer(id_, answer)
            case Unstaged(records):
                # Others that hold just the same may have waited for it.
                content = self.terms.content
                held = {i: r for i, r in self._open.items() if content(r) == records or not records}
                self._refused.update(held)
                for record in {*records, *(r for some in held.values() for r in some)}:
                    self._lived.answers[record]["transient"] += 1
            case Missed() | Removed() | Undeleted():
                for law, text in self._lived.inputs.take(event.fact, self._open, self.terms):
                    self.blame(law, text)
            case Polled(0):
                self._heard_all = True
            case Taken(id_, records):
                self._taken_at.setdefault(id_, event.at)
                # One that arrives when it is over may not find its payload in S3 any more.
                is_gone = id_ in self._closed and not records
                ours = self._ours(id_, records)
                if self.terms.content(ours) != records and not is_gone:
                    self.blame("a call carries its records", f"{id_} carries {records}")
                for record in ours:
                    self._lived.taken.setdefault(record, event.at)
            case Came(id_, how, records):
                self._over.add(id_)
                if how in ("failed", "garbled", "expired"):
                    self._failed.add(id_)
                for record in self._ours(id_, records) if records else ():
                    self._lived.came[record].add(how)
            case Wrote() as wrote:
                self._write(wrote)
            case Sent(_, lines):
                self._sent.update(line.record for line in lines)
            case Dropped(record):
                self._drop(record)
            case Synced(sink, size):
                self._sinks[sink].synced = size
            case Cut(sink, size):
                self._cut(sink, size)
            case Deleted(token, id_):
                self._delete(token, id_)
            case Died(_, power):
                self._forget_calls()
                # Those whose payloads are gone take no room until these are read again.
                self._lost = len(self._open) if power else self._lost
            case Signalled():
                within = IMMEDIATELY if self._end_by else self.terms.drain
                self._end_by = min(self._at + within + SLOWNESS, self._end_by or inf)
            case Stopped(how, is_defect):
                self._forget_calls()
                if self._end_by and self._at > self._end_by:
                    self.blame("a stop ends in time", f"it took until {self._at:.3f}")
                if is_defect:
                    law = "no hang" if how.startswith("hangs") else "no defect"
                    self.blame(law, how)
                    self.is_over = True
            case Final() as final:
                self.is_over = True
                for text in final.leftovers:
                    self.blame("the ledger ends in order", text)
                if self._open:
                    self.blame("the ledger ends in order", f"{sorted(self._open)} are outstanding")
                # A later process does not know whether an earlier one has called.
                # Counted before it is made: a completion may come in between.
                if not self._life and final.repeated < len(self._repeated):
                    text = f"{final.repeated} are counted, {len(self._repeated)} were"
                    self.blame("repeated calls counted", text)
                for law, text in judge(final, self.terms, self._lived, self._at):
                    self.blame(law, text)
            case Looked(key):
                self._look(key)
            case _:
                pass

    # Processes

    def _begin(self) -> None:
        self._began, self._heard_all, self._end_by = self._at, False, 0.0
        self._lived.inputs.undeleted.clear()
        for calls in self._calls.values():
            # Whatever was not known to be accepted may have been.
            calls.unsure, calls.looked, calls.could_look = True, False, self._base_known

    def _forget_calls(self) -> None:
        for calls in self._calls.values():
            calls.on_wire = False

    def _find(self, ids: Iterable[str]) -> None:
        found = set(ids)
        if found != set(self._open):
            self.blame(
                "what was committed survives",
                f"the ledger holds {sorted(found)}, {sorted(self._open)} were outstanding in it",
            )
            self._open = {id_: self._ever.get(id_, ()) for id_ in found}

    # The ledger

    def _commit(self, commit: Committed) -> None:
        self._base_known = commit.base_known
        self._accepted.update(commit.accepted)
        closed = {id_: self._open.pop(id_, ()) for id_ in commit.closed}
        ended = [record for records in closed.values() for record in records]
        for id_ in commit.closed:
            self._closed.add(id_)
            age = self._at - self._taken_at.get(id_, self._at)
            if age >= self.terms.deadline:
                self._failed.add(id_)
            if not (id_ in self._over or id_ in self._refused or age >= self.terms.deadline):
                self.blame("settled by its own completion", f"{id_} is closed and not over")
        for record in ended:
            self._in_flight[record] -= 1
        going_on: set[int] = set()
        for id_, records in commit.planned:
            self._plan(id_, records, going_on)
        for law, text in self._lived.splits.take(closed, commit.planned, self._failed):
            self.blame(law, text)
        max_outstanding = self.terms.outstanding + self._lost
        # What failed ones were split into comes on top: it is bounded by its own budget.
        parts = len(self._open) - self._lived.splits.outstanding(self._open)
        if commit.outstanding - parts > max_outstanding:
            self.blame(
                "bounds held", f"{commit.outstanding} outstanding, {max_outstanding} at most"
            )
        self._settle({record for record in ended if record not in going_on}, commit.marks)

    def _plan(self, id_: str, records: tuple[int, ...], going_on: set[int]) -> None:
        if id_ in self._ever:
            self.blame("a new invocation has a new id", f"{id_} was planned before")
        self._open[id_] = self._ever[id_] = records
        self._lived.attempts.update(records)
        going_on.update(records)
        for record in records:
            self._in_flight[record] += 1
            if self._in_flight[record] > 1:
                self.blame("settled exactly once", f"record {record} is in two invocations")
            if record in self._settled:
                self.blame("settled exactly once", f"record {record} is planned though settled")

    def _settle(self, ended: set[int], marks: tuple[int, int]) -> None:
        """Hold the lines that become part of the run against the records that end."""
        new: list[int] = []
        sinks: tuple[Sink, Sink] = ("results", "dead")
        for name, mark in zip(sinks, marks, strict=True):
            sink = self._sinks[name]
            if mark < sink.mark:
                self.blame("marks advance", f"{name} went back from {sink.mark} to {mark}")
            at = sink.marked
            while at < len(sink.lines) and sink.lines[at].end <= mark:
                new.append(sink.lines[at].record)
                at += 1
            if mark > (sink.lines[at - 1].end if at else 0):
                self.blame(
                    "settled after its line", f"{name} is settled up to {mark}, its lines are not"
                )
            if self.terms.durable and mark > sink.synced:
                self.blame(
                    "settled after its line is durable",
                    f"{name} is settled up to {mark} and synced up to {sink.synced}",
                )
            sink.mark, sink.marked = mark, at
        for record in new:
            if record in self._settled:
                self.blame("settled exactly once", f"record {record} is settled again")
            elif record not in ended and record not in self.terms.refusals:
                self.blame("settled exactly once", f"a line of record {record}, which goes on")
        if missing := ended.difference(new, self._sent):
            self.blame("settled after its line", f"no line for records {sorted(missing)}")
        self._settled |= ended.union(new)

    # Calls

    def _call(self, call: Called) -> None:
        if (call.inline is None) == (call.location is None):
            self.blame("a body or a location", f"{call}")
        if call.inline is not None and call.inline > INLINE_BODY_BYTES:
            self.blame("never over the limit", f"{call.inline} bytes inline")
        if call.id in self._closed:
            self.blame("no call after the outcome", f"{call.id} is called and closed")
        elif call.id not in self._open:
            self.blame("no call before its durable intent", f"{call.id} is not in the ledger")
        for record in self._ever.get(call.id, ()):
            self._lived.called.setdefault(record, self._at)
        if call.location is not None:
            self._lived.inputs.called[call.id] = call.location
        if (calls := self._calls.get(call.id)) is None:
            self._calls[call.id] = _Calls(call, self._life)
        else:
            self._repeat(call, calls)
        on_wire = sum(calls.on_wire for calls in self._calls.values())
        if on_wire > self.terms.concurrency:
            self.blame("bounds held", f"{on_wire} calls on the wire")

    def _ours(self, id_: str, shown: tuple[int, ...]) -> tuple[int, ...]:
        """Return the records of an invocation of which a payload shows only the contents."""
        return self._ever.get(id_, shown)

    def _repeat(self, call: Called, calls: _Calls) -> None:
        if call != calls.first:
            self.blame("a repeated call is the same", f"{call} repeats {calls.first}")
        if calls.on_wire:
            self.blame("one call at a time", f"{call.id} is called while it is on the wire")
        if call.id in self._accepted:
            self.blame("sent again only if unsure", f"{call.id} is known to be accepted")
        elif calls.life == self._life and calls.answer == "accepted":
            self.blame("sent again only if unsure", f"{call.id} was just accepted")
        elif calls.unsure and calls.could_look and self.terms.chosen and not calls.looked:
            self.blame("look before sending again", f"{call.id} is sent again without a look")
        elif (
            calls.unsure
            and calls.life != self._life
            and self.terms.listens
            and not self._heard_all
            and self._at - self._began < DRAIN_SECONDS
        ):
            self.blame("hear the events first", f"{call.id} is sent again before they are heard")
        if calls.unsure:
            self._repeated.add(call.id)
        calls.life, calls.on_wire, calls.answer = self._life, True, None

    def _answer(self, id_: str, answer: Answer) -> None:
        calls = self._calls[id_]
        calls.on_wire, calls.answer = False, answer
        calls.unsure |= answer == "unknown"
        if answer not in ("accepted", "cancelled"):
            self._refused.add(id_)
        calls.looked, calls.could_look = False, self._base_known
        for record in self._ever.get(id_, ()):
            self._lived.answers[record][answer] += 1

    def _look(self, key: str) -> None:
        for calls in self._calls.values():
            if key.endswith(calls.first.key) or (
                key.endswith("/") and key.endswith(calls.first.key.rpartition("/")[0] + "/")
            ):
                calls.looked = True

    # Sinks

    def _write(self, wrote: Wrote) -> None:
        sink = self._sinks[wrote.sink]
        end = sink.lines[-1].end if sink.lines else 0
        if wrote.start != end:
            self.blame(
                "one line a record", f"{wrote.sink} is written from {wrote.start}, it has {end}"
            )
        sink.lines += wrote.lines

    def _cut(self, name: Sink, size: int) -> None:
        sink = self._sinks[name]
        while sink.lines and sink.lines[-1].end > size:
            sink.lines.pop()
        sink.synced = min(sink.synced, size)
        if size < sink.mark:
            self.blame("nothing lost", f"{name} is cut to {size}, {sink.mark} are settled")

    def _delete(self, token: str, id_: str | None) -> None:
        if id_ is None or id_ not in self._ever:
            return
        if id_ not in self._closed:
            self.blame("acknowledged last", f"the event of {id_} is deleted before its outcome")

    def _drop(self, record: int) -> None:
        if record in self._settled:
            return
        if record not in self.terms.refusals or record not in self._sent:
            self.blame("acknowledged last", f"the message of {record} is deleted too early")
