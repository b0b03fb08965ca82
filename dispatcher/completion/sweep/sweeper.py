"""The sweeper: looks into S3 for invocations whose event is overdue, and expires old ones.

A lost event must not lose a record, and the service has no status call. Locations are those that
the 202 named. The sweep learns from completions how long they take, and so what is overdue. Where
many invocations wait in one folder, one LIST page shows a thousand; a few are probed singly; all
requests keep to a budget.

While events arrive the sweep stays behind them. Without a queue, or when events stop, it works
alone: it probes as soon as a completion is likely, and uses all that a page shows.
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
    neighbours,
    probes,
)
from dispatcher.config.settings import CompletionSettings
from dispatcher.errors import Denied
from dispatcher.ledger.invocation import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.observe.events import (
    CompletionFound,
    EventOutageBegan,
    EventOutageEnded,
    Observer,
)
from dispatcher.retry.outage_timer import OutageTimer
from dispatcher.retry.token_bucket import TokenBucket

_log = logging.getLogger(__name__)

_LATE, _MARGIN = 0.99, 1.5
"""While events arrive, one is overdue after 1.5 times what 99 of 100 completions take."""

_LIKELY = 0.75
"""Working alone, the first look is when three of four have completed."""

_MIN_SECONDS = 1.0
"""Working alone, the earliest look and the shortest time between two, unless ``sweep_after`` is
shorter. Before anything is learned, looks begin here and thin out with age."""

_MAX_PAUSE_SECONDS = 15.0

_DRAIN_SECONDS = 60.0
"""Longest wait of the first look for the events of the meantime, unless ``sweep_after`` is less."""

_MAX_SCANNED_PER_SECOND = 100_000
"""Accepted invocations that are scanned in a second at most. With a million outstanding a scan
takes 0.2 s, or 0.9 s where all are overdue, and holds the loop for 0.2 s (measured): once in 10 s
that may be."""

_CHUNK = 10_000
"""Invocations of a scan between two turns of the event loop."""

_MAX_WAITING = 50_000
"""The most urgent that a scan hands on: of a million overdue 5,000 a second. What is left is seen
by the next scan."""

_AGAIN_SECONDS = 15.0
"""Wait before a failed probe is repeated."""


@dataclass(slots=True, kw_only=True)
class Sweeper:
    """The sweep of a run: one loop, until cancelled.

    Attributes:
        completion: The section ``completion``.
        lifetime: ``request.ttl`` + ``request.timeout``: an invocation's last moment, in seconds.
        give_up_after: ``retry.give_up_after``, in seconds.
        ledger: Has the accepted invocations.
        objects: S3.
        observe: Gets the events.
        outage: Ends the run when S3 does not respond.
        now: Epoch seconds.
    """

    completion: CompletionSettings
    lifetime: float
    give_up_after: float
    ledger: Ledger
    objects: ObjectLister
    observe: Observer
    outage: OutageTimer
    now: Callable[[], float]
    _began: float = field(init=False)
    _latency: LatencyEstimator = field(default_factory=LatencyEstimator)
    _events: EventOutageDetector = field(init=False)
    _prober: Prober = field(init=False)
    _schedule: SweepSchedule = field(init=False)
    _scan_at: float = field(init=False)
    _list_from: int = LIST_FROM
    _waiting: deque[Probe] = field(default_factory=deque)
    _postponed: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing learned."""
        self._began = self._scan_at = self.now()
        self._events = EventOutageDetector(self._began)
        budget = TokenBucket(self.completion.sweep_budget)
        self._prober = Prober(
            objects=self.objects, budget=budget, observe=self.observe, now=self.now
        )
        self._schedule = self._next_schedule()

    async def run(self, claims: MemoryObjectSendStream[Claimed], drained: anyio.Event) -> None:
        """Probe for what is overdue for as long as the run goes on.

        Args:
            claims: Takes what is found.
            drained: Set when the events that waited at the start have been heard: they show more
                than a probe does.

        Raises:
            Denied: An invocation is past its deadline, and AWS refuses to show its output.
            RunStopped: AWS has not responded for too long.
        """
        async with claims:
            # A queue that others share may never be empty.
            with anyio.move_on_after(min(_DRAIN_SECONDS, self.completion.sweep_after)):
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
        # An event of an earlier process may have waited for this one: that is no measurement.
        if at is not None and at >= self._began:
            self._latency.add(now - at)
        if self._events.heard(now):
            self.observe(EventOutageEnded())
            _log.warning("completion events arrive again; S3 is looked at only for what is overdue")

    async def sweep(self) -> list[tuple[Entry, Completion]]:
        """Probe for the most urgent that a second's budget allows; return the completions."""
        self._check_events()
        if not self._waiting or self.now() >= self._scan_at:
            await self._scan()
        batch = self._next_batch()
        looked_at, refused = self.now(), len(self._prober.refused)
        observations = Observations()
        await self._prober.probe(batch, "output", observations)
        due = [entry for probe in batch for entry in probe.entries]
        without = [e for e in due if e.failure and observations.shows(e.output) is False]
        await self._prober.probe(
            self._plan(without, "failure", listed=observations.pages), "failure", observations
        )
        if len(self._prober.refused) > refused:
            self._scan_at = looked_at  # what would be listed has to be probed singly
        self._note_responses(observations)
        completions = [(entry, self._conclude(entry, observations, looked_at)) for entry in due]
        others = [entry for probe in batch for entry in probe.others]
        completions += [(entry, _seen_early(entry, observations, looked_at)) for entry in others]
        return [(entry, completion) for entry, completion in completions if completion is not None]

    @property
    def _is_alone(self) -> bool:
        return self.completion.queue_url is None or self._events.is_outage

    def _next_schedule(self) -> SweepSchedule:
        """Return the schedule that follows from what is known now."""
        floor = self.completion.sweep_after
        if self._is_alone:
            floor = min(floor, _MIN_SECONDS)
            expected = self._latency.quantile(_LIKELY) or 0.0
        else:
            expected = _MARGIN * (self._latency.quantile(_LATE) or 0.0)
        return SweepSchedule(
            max(floor, expected),
            floor,
            self.lifetime + self.completion.slack,
        )

    async def _scan(self) -> None:
        """Find the invocations to look for until the next scan."""
        now, schedule = self.now(), self._next_schedule()
        self._schedule = schedule
        self._postponed = {
            number: at for number, at in self._postponed.items() if self.ledger.find(number)
        }
        accepted = self.ledger.accepted()
        due: list[Due] = []
        last: Due | None = None
        for start in range(0, len(accepted), _CHUNK):
            due += schedule.due(accepted[start : start + _CHUNK], now, self._postponed, last)
            if len(due) > 2 * _MAX_WAITING:
                due = sorted(due)[:_MAX_WAITING]
                last = due[-1]
            await anyio.lowlevel.checkpoint()
        entries = [entry for *_, entry in sorted(due)[:_MAX_WAITING]]
        pause = max(
            min(schedule.first / 4, _MAX_PAUSE_SECONDS), len(accepted) / _MAX_SCANNED_PER_SECOND
        )
        self._scan_at = now + pause
        self._list_from = LIST_FROM
        planned = self._plan(entries, "output")
        if sum(map(cost, planned)) > self._prober.budget.rate * pause:
            self._list_from = LIST_FROM_IN_HASTE
            planned = self._plan(entries, "output")
        self._waiting = deque(planned)

    def _plan(
        self, entries: Collection[Entry], kind: Kind, *, listed: Collection[str] = ()
    ) -> list[Probe]:
        return probes(
            entries, kind, list_from=self._list_from, refused=self._prober.refused, listed=listed
        )

    def _next_batch(self) -> list[Probe]:
        """Take the most urgent probes, a second's requests or one; leave out what is settled."""
        batch: list[Probe] = []
        requests = 0
        while self._waiting:
            probe = self._waiting[0]
            if batch and requests + cost(probe) > self._prober.budget.rate:
                break
            self._waiting.popleft()
            probe.entries = [entry for entry in probe.entries if is_open(entry)]
            if not probe.entries:
                continue
            if probe.folder is not None and self._is_alone:
                probe.others = neighbours(probe, self.ledger.find)
            batch.append(probe)
            requests += cost(probe)
        return batch

    def _note_responses(self, observations: Observations) -> None:
        """Note the requests that S3 responded to, and those that failed.

        Raises:
            RunStopped: It has not responded for too long.
        """
        for error in observations.responses:
            if error is None:
                self.outage.succeeded()
            else:
                self.outage.failed(error)

    def _conclude(
        self, entry: Entry, observations: Observations, looked_at: float
    ) -> Completion | None:
        """Return the completion of an invocation that was due, or note when it was looked for.

        Raises:
            Denied: It is past its deadline, and its output cannot be seen.
        """
        if (completion := observations.completion(entry)) is not None:
            return completion
        if observations.has_failed(entry):
            self._look_again_soon(entry)
        elif observations.has_no_trace(entry):
            if self._schedule.is_over(entry.accepted_at or 0.0, looked_at):
                if entry.output in observations.unseen:
                    raise _unseen(entry)
                return Completion("expired", entry.planned.id, None)
            entry.looked_at = looked_at
        return None

    def _learn(self, entry: Entry) -> None:
        """Learn from a completion that was found before its event was heard."""
        now = self.now()
        self.observe(CompletionFound())
        self._look_again_soon(entry)  # if its output cannot be read now
        if entry.accepted_at is None:
            return
        earliest = entry.looked_at or entry.accepted_at
        self._events.found(earliest, now)
        if self._is_alone:
            age = now - entry.accepted_at
            # An invocation that was first looked for late may have completed long before.
            latest = min(age, self._schedule.first) if entry.looked_at is None else age
            self._latency.add_between(earliest - entry.accepted_at, latest)

    def _look_again_soon(self, entry: Entry) -> None:
        """Probe for an invocation again before long, after those that are due already."""
        wait = min(_AGAIN_SECONDS, self.completion.sweep_after, self.give_up_after / 4)
        self._postponed[entry.planned.number] = self.now() + wait

    def _check_events(self) -> None:
        """Report once when events stop."""
        now, events = self.now(), self._events
        if self.completion.queue_url is None or not events.begins(now):
            return
        self.observe(EventOutageBegan())
        _log.warning(
            "completion events do not arrive: %d invocations completed without one, and %s. S3 is "
            "looked at instead. Check the endpoint's notification topics and their subscription "
            "to completion.queue_url",
            events.missed,
            f"the last event came {now - events.last_event:.0f} seconds ago"
            if events.has_heard
            else "none has come yet",
        )


def _seen_early(entry: Entry, observations: Observations, looked_at: float) -> Completion | None:
    """Return the completion that a page shows of an invocation not yet due, or note the look."""
    completion = observations.completion(entry)
    if completion is None and observations.shows(entry.output) is False:
        entry.looked_at = looked_at
    return completion


def _unseen(entry: Entry) -> Denied:
    return Denied(
        f"AWS refuses a look at {entry.output}, whose invocation is past its deadline, so whether "
        "it has an output cannot be seen. Allow s3:GetObject on the endpoint's output path (and "
        "s3:ListBucket on its bucket), then run the same command again"
    )
