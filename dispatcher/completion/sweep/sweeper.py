"""Looks into S3 for invocations whose event is overdue, and ends those past their deadline.

A lost event must not lose a record, and there is no status call. Locations are those that the 202
named. What is overdue is learned from how long completions take. Where many wait in one folder, one
LIST page tells of a thousand; a few are looked at singly; together they keep to a budget.

While events arrive the sweeper stays behind them. Without a queue, or when events stop, it works
alone: it looks as soon as a completion is likely, and a page is read for all that it tells.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectSendStream

from dispatcher.completion.event import Completion
from dispatcher.completion.joiner import Claimed
from dispatcher.completion.sweep.event_outage import EventOutageDetector
from dispatcher.completion.sweep.latency import LatencyEstimator
from dispatcher.completion.sweep.observations import Observations
from dispatcher.completion.sweep.prober import ObjectLister, Prober
from dispatcher.completion.sweep.schedule import (
    LIST_FROM,
    LIST_FROM_IN_HASTE,
    Due,
    Kind,
    Probe,
    SweepSchedule,
    cost,
    is_open,
    looks,
    neighbours,
)
from dispatcher.config.settings import Config
from dispatcher.errors import Denied
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.observe.meter import Meter
from dispatcher.retry.outage import OutageTimer
from dispatcher.retry.token_bucket import TokenBucket

_log = logging.getLogger(__name__)

_LATE, _MARGIN = 0.99, 1.5
"""While events arrive, one is overdue after 1.5 times what 99 of 100 completions take."""

_LIKELY = 0.75
"""Working alone, the first look is when three of four have completed."""

_SOONEST_SECONDS = 1.0
"""Working alone, the earliest look and the shortest time between two, unless ``sweep_after`` is
shorter. Before anything is learned, looks begin here and thin out with age."""

_LONGEST_PAUSE_SECONDS = 15.0

_DRAIN_SECONDS = 60.0
"""How long the first look waits for the events of the meantime, unless ``sweep_after`` is less."""

_SCANNED_PER_SECOND = 100_000
"""Accepted invocations that are gone through in a second at most. With a million outstanding a scan
takes 0.2 s, or 0.9 s where all are overdue, and holds the loop for 0.2 s (measured): once in 10 s
that may be."""

_CHUNK = 10_000
"""Invocations of a scan between two turns of the event loop."""

_MOST_WAITING = 50_000
"""The most urgent that a scan hands on: of a million overdue 5,000 a second. What is left is seen
by the next scan."""

_AGAIN_SECONDS = 15.0
"""Wait before a look that failed is repeated."""


@dataclass(slots=True)
class Sweeper:
    """One loop, until cancelled.

    Attributes:
        config: Of the run.
        ledger: Knows who is outstanding.
        looker: Looks into S3.
        meter: ``looks`` counts requests, finds, and silences.
        patience: Ends the run when nobody answers.
        now: Epoch seconds.
    """

    config: Config
    ledger: Ledger
    looker: ObjectLister
    meter: Meter
    patience: OutageTimer
    now: Callable[[], float]
    _began: float = field(init=False)
    _expectation: LatencyEstimator = field(default_factory=LatencyEstimator)
    _silence: EventOutageDetector = field(init=False)
    _lookout: Prober = field(init=False)
    _table: SweepSchedule = field(init=False)
    _scan_at: float = field(init=False)
    _list_from: int = LIST_FROM
    _waiting: deque[Probe] = field(default_factory=deque)
    _postponed: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing learned."""
        self._began = self._scan_at = self.now()
        self._silence = EventOutageDetector(self._began)
        budget = TokenBucket(self.config.completion.sweep_budget)
        self._lookout = Prober(self.looker, budget, self.meter, self.now)
        self._table = self._timetable()

    async def run(self, claims: MemoryObjectSendStream[Claimed], drained: anyio.Event) -> None:
        """Probe for what is overdue for as long as the run goes on.

        Args:
            claims: Takes what is found.
            drained: Events of the meantime have been heard: they tell more than a look.

        Raises:
            Denied: An invocation is past its deadline, and whether it has an output cannot be seen.
            RunStopped: AWS has not answered for too long.
        """
        async with claims:
            # A queue that others share may never be empty.
            with anyio.move_on_after(min(_DRAIN_SECONDS, self.config.completion.sweep_after)):
                await drained.wait()
            while True:
                for entry, completion in await self.sweep():
                    if self.ledger.claim(entry):
                        if completion.kind != "expired":
                            self._learn(entry)
                        await claims.send(Claimed(entry, completion))
                if not self._waiting:
                    await anyio.sleep(max(0.0, self._scan_at - self.now()))

    def heard(self, entry: Entry | None) -> None:
        """Learn from an event of this run.

        Args:
            entry: Its invocation, not claimed yet if this is its first event; None if settled.
        """
        now = self.now()
        at = None if entry is None or entry.claimed else entry.accepted_at
        # What an earlier process sent may have waited for this one: that says nothing.
        if at is not None and at >= self._began:
            self._expectation.add(now - at)
        if self._silence.heard(now):
            _log.warning("completion events arrive again; S3 is looked at only for what is overdue")

    async def sweep(self) -> list[tuple[Entry, Completion]]:
        """Probe for the most urgent that a second's budget allows; return what came of it."""
        self._heed_silence()
        if not self._waiting or self.now() >= self._scan_at:
            await self._scan()
        batch = self._next_batch()
        looked_at, refused = self.now(), len(self._lookout.refused)
        sight = Observations()
        await self._lookout.see(batch, "output", sight)
        due = [entry for look in batch for entry in look.entries]
        without = [e for e in due if e.failure and sight.shows(e.output) is False]
        await self._lookout.see(
            self._plan(without, "failure", listed=sight.pages), "failure", sight
        )
        if len(self._lookout.refused) > refused:
            self._scan_at = looked_at  # what was to be listed is to be looked at singly
        self._be_patient(sight)
        found = [(entry, self._conclude(entry, sight, looked_at)) for entry in due]
        for look in batch:
            found += [(other, _glance(other, sight, looked_at)) for other in look.others]
        return [(entry, completion) for entry, completion in found if completion is not None]

    @property
    def _is_alone(self) -> bool:
        return self.config.completion.queue_url is None or self._silence.is_silent

    def _timetable(self) -> SweepSchedule:
        """Return when invocations are looked for, by what is known now."""
        floor = self.config.completion.sweep_after
        if self._is_alone:
            floor = min(floor, _SOONEST_SECONDS)
            expected = self._expectation.quantile(_LIKELY) or 0.0
        else:
            expected = _MARGIN * (self._expectation.quantile(_LATE) or 0.0)
        return SweepSchedule(
            max(floor, expected),
            floor,
            self.config.request.ttl + self.config.request.timeout + self.config.completion.slack,
        )

    async def _scan(self) -> None:
        """Find out who is to be looked for until the next scan."""
        now, table = self.now(), self._timetable()
        self._table = table
        self._postponed = {n: t for n, t in self._postponed.items() if self.ledger.find(n)}
        accepted = self.ledger.accepted()
        due: list[Due] = []
        last: Due | None = None
        for start in range(0, len(accepted), _CHUNK):
            due += table.due(accepted[start : start + _CHUNK], now, self._postponed, last)
            if len(due) > 2 * _MOST_WAITING:
                due = sorted(due)[:_MOST_WAITING]
                last = due[-1]
            await anyio.lowlevel.checkpoint()
        entries = [entry for *_, entry in sorted(due)[:_MOST_WAITING]]
        pause = max(
            min(table.first / 4, _LONGEST_PAUSE_SECONDS), len(accepted) / _SCANNED_PER_SECOND
        )
        self._scan_at = now + pause
        self._list_from = LIST_FROM
        planned = self._plan(entries, "output")
        if sum(map(cost, planned)) > self._lookout.budget.rate * pause:
            self._list_from = LIST_FROM_IN_HASTE
            planned = self._plan(entries, "output")
        self._waiting = deque(planned)

    def _plan(
        self, entries: Collection[Entry], kind: Kind, *, listed: Collection[str] = ()
    ) -> list[Probe]:
        return looks(
            entries, kind, list_from=self._list_from, refused=self._lookout.refused, listed=listed
        )

    def _next_batch(self) -> list[Probe]:
        """Take the most urgent looks, for a second's requests or one; leave out who is settled."""
        batch: list[Probe] = []
        requests = 0
        while self._waiting:
            look = self._waiting[0]
            if batch and requests + cost(look) > self._lookout.budget.rate:
                break
            self._waiting.popleft()
            look.entries = [entry for entry in look.entries if is_open(entry)]
            if not look.entries:
                continue
            if look.folder is not None and self._is_alone:
                look.others = neighbours(look, self.ledger.find)
            batch.append(look)
            requests += cost(look)
        return batch

    def _be_patient(self, sight: Observations) -> None:
        """Tell whether requests were answered.

        Raises:
            RunStopped: None was for too long.
        """
        for error in sight.answers:
            if error is None:
                self.patience.succeeded()
            else:
                self.patience.failed(error)

    def _conclude(self, entry: Entry, sight: Observations, looked_at: float) -> Completion | None:
        """Return what became of an invocation that was due, or note when it was looked for.

        Raises:
            Denied: It is past its deadline, and its output cannot be seen.
        """
        if (completion := sight.completion(entry)) is not None:
            return completion
        if sight.has_failed(entry):
            self._again(entry)
        elif sight.has_no_trace(entry):
            if self._table.is_over(entry.accepted_at or 0.0, looked_at):
                if entry.output in sight.unseen:
                    raise _unseen(entry)
                return Completion("expired", entry.planned.id, None)
            entry.looked_at = looked_at
        return None

    def _learn(self, entry: Entry) -> None:
        """Learn from a completion that was found before its event was heard."""
        now = self.now()
        self.meter.looks["found"] += 1
        self._again(entry)  # if its output cannot be read now
        if entry.accepted_at is None:
            return
        earliest = entry.looked_at or entry.accepted_at
        self._silence.found(earliest, now)
        if self._is_alone:
            age = now - entry.accepted_at
            # Who was first looked for late need not have been: that was no measurement.
            latest = min(age, self._table.first) if entry.looked_at is None else age
            self._expectation.add_between(earliest - entry.accepted_at, latest)

    def _again(self, entry: Entry) -> None:
        """Probe for an invocation again before long, after those that are due already."""
        settings = self.config
        most = min(settings.completion.sweep_after, settings.retry.give_up_after / 4)
        wait = min(_AGAIN_SECONDS, most)
        self._postponed[entry.planned.number] = self.now() + wait

    def _heed_silence(self) -> None:
        """Say so, once, when events stop."""
        now, silence = self.now(), self._silence
        if self.config.completion.queue_url is None or not silence.begins(now):
            return
        self.meter.looks["silent"] += 1
        _log.warning(
            "completion events do not arrive: %d invocations completed without one, and %s. S3 is "
            "looked at instead. Check the endpoint's notification topics and their subscription "
            "to completion.queue_url",
            silence.missed,
            f"the last event came {now - silence.last_event:.0f} seconds ago"
            if silence.has_heard
            else "none has come yet",
        )


def _glance(entry: Entry, sight: Observations, looked_at: float) -> Completion | None:
    """Return what a page tells of an invocation that was not due, or note the look."""
    completion = sight.completion(entry)
    if completion is None and sight.shows(entry.output) is False:
        entry.looked_at = looked_at
    return completion


def _unseen(entry: Entry) -> Denied:
    return Denied(
        f"AWS refuses a look at {entry.output}, whose invocation is past its deadline, so nobody "
        "can tell whether it has an output. Allow s3:GetObject on the endpoint's output path (and "
        "s3:ListBucket on its bucket), then run the same command again"
    )
