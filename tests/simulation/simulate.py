"""Simulate the run of one seed: process after process, until one finishes."""

import asyncio
import gzip
import os
import random
import signal
import sqlite3
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import orjson

from dispatcher.aws.transport import Transport
from dispatcher.environment import Environment
from dispatcher.errors import RunStopped, StateError
from dispatcher.flow.budget import MemoryBudget
from dispatcher.ledger import staged_objects as staged
from dispatcher.ledger.check.read import read_snapshot
from dispatcher.ledger.check.status import read_status
from dispatcher.ledger.check.verify import verify
from dispatcher.observe.meter import Meter
from dispatcher.retry import invocations
from dispatcher.run import pipeline, wiring
from tests.simulation import laws
from tests.simulation.chance import Chance
from tests.simulation.cloud import Cloud
from tests.simulation.determinism import Signals, determined
from tests.simulation.history import (
    Began,
    Called,
    Died,
    Event,
    Fact,
    Final,
    Line,
    Sent,
    Signalled,
    Sink,
    Stopped,
    Wrote,
)
from tests.simulation.laws import Violation
from tests.simulation.loop import BEGAN, SimulatedLoop
from tests.simulation.machine import Machine, Process
from tests.simulation.ports import Ports
from tests.simulation.scenario import DEAD, LEDGER, RESULTS, SOURCE, Death, Scenario, make

VIRTUAL_SECONDS = 3 * 86_400.0
STEPS = 400_000
"""A run that takes more hangs."""

FILES: dict[Sink, str] = {"results": RESULTS, "dead": DEAD}

_EXTRA_LIVES = 12
"""Processes that may stop by themselves for faults, beside those that are made to die."""


@dataclass(slots=True)
class Report:
    """The report on a seed.

    Attributes:
        seed: The seed.
        violations: Laws that were broken.
        history: What happened.
        faults: Faults by kind.
        deaths: Crashes by moment.
        seconds: Virtual time.
    """

    seed: int
    violations: list[Violation]
    history: list[Event]
    faults: Counter[str]
    deaths: Counter[str]
    seconds: float


@contextmanager
def workplace() -> Iterator[None]:
    """Make a folder in memory the current one."""
    before = Path.cwd()
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def simulate(seed: int) -> Report:
    """Simulate the run of a seed in the current folder, which is empty before and after.

    Raises:
        RuntimeError: It is not: whatever is there would be deleted.
    """
    if any(Path().iterdir()):
        raise RuntimeError(f"{Path.cwd()} is not empty; simulate in a workplace()")
    return _Simulation(make(seed)).run()


class _Simulation:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.loop = SimulatedLoop()
        self.loop.steps_left = STEPS
        self.loop.until = BEGAN + VIRTUAL_SECONDS
        self.history: list[Event] = []
        self.life = 0
        self.deaths: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.numbers: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.by_number = {item.number: item for item in scenario.items}
        self.machine = Machine(self.note, self._record_at, self._read_line)
        self.memory: MemoryBudget | None = None
        self.leftovers: list[str] = []

    def note(self, fact: Fact) -> None:
        self.history.append(Event(self.loop.time() - BEGAN, self.life, fact))

    def run(self) -> Report:
        scenario = self.scenario
        service = scenario.service
        try:
            with ExitStack() as stack:
                self.take_signals = stack.enter_context(
                    determined(self.machine, scenario.seed, disk=service.disk, flush=service.flush)
                )
                stack.enter_context(mock.patch.object(wiring, "MemoryBudget", self._memory))
                stack.enter_context(mock.patch.object(invocations, "FREE_PARTS", scenario.floor))
                stack.enter_context(mock.patch.object(staged, "PAGE", scenario.page))
                asyncio.set_event_loop(self.loop)
                self.loop.run_until_complete(self._lives())
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()
            seconds = self.loop.time() - BEGAN
            _sweep_out()
        violations = laws.check(self.history, scenario.terms)
        return Report(scenario.seed, violations, self.history, self.faults, self.deaths, seconds)

    def _bring_input(self) -> None:
        items = self.scenario.items
        if self.scenario.config.source.type == "jsonl":
            for path in self.scenario.config.source.path:
                lines = [i.raw + b"\n" for i in items if i.place.startswith(f"{path}:")]
                self.sizes[path] = sum(map(len, lines))
                write = gzip.compress if path.endswith(".gz") else bytes
                Path(path).write_bytes(write(b"".join(lines)))
            self.numbers = {item.place: item.number for item in items}
            return
        self.numbers = self.cloud.feed(items)
        for name, number in self.numbers.items():
            item = self.by_number[number]
            self.by_number[number] = replace(item, key=item.key or name)

    def _memory(self, capacity: int) -> MemoryBudget:
        self.memory = MemoryBudget(capacity)
        return self.memory

    async def _lives(self) -> None:
        cloud = self.cloud = Cloud(self.scenario, self.loop, self.note)
        self._bring_input()
        deaths = iter(self.scenario.deaths)
        for life in range(len(self.scenario.deaths) + _EXTRA_LIVES):
            self.life = life
            death = next(deaths, Death("none"))
            is_last = self.is_calm = death.how == "none"
            if is_last:
                cloud.calm_down()
            ended = await self._live(cloud, death, is_last=is_last)
            if ended or is_last:
                break
            await asyncio.sleep(death.gap)
        if ended and self.scenario.again:
            await self._once_more(cloud)
        self.faults.update({str(name): count for name, count in cloud.faults.struck.items()})
        await cloud.close()
        if ended:
            self._look_at_the_end()

    async def _once_more(self, cloud: Cloud) -> None:
        """Give the same command again: a finished run of files has nothing left to do."""
        self.life += 1
        self.is_calm = True
        cloud.calm_down()
        begin = len(self.history)
        await self._live(cloud, Death("none"), is_last=True)
        did = [e for e in self.history[begin:] if isinstance(e.fact, Called | Wrote | Sent)]
        if did and self.scenario.config.source.type == "jsonl":
            self.leftovers.append(f"a finished run went on: {did[0]}")

    async def _live(self, cloud: Cloud, death: Death, *, is_last: bool) -> bool:
        """Let a process live; return whether it finished the run."""
        scenario, machine = self.scenario, self.machine
        name = f"{scenario.seed} {self.life}"
        process = Process(death, random.Random(f"{name} disk"))
        levels = {} if is_last else scenario.levels
        chance = Chance(levels, random.Random(f"{name} ports"))
        service = scenario.service
        shows_missing = is_last or service.shows_missing
        ports = Ports(cloud, machine, process, chance, service, shows_missing=shows_missing)
        machine.begin(process)
        self.note(Began())
        signals = Signals()
        self.take_signals(signals)

        @asynccontextmanager
        async def connect() -> AsyncIterator[Transport]:
            yield ports.transport()

        self.meter = Meter()
        environment = Environment(
            monotonic=self.loop.time,
            now=self.loop.wall,
            rng=random.Random(f"{name} client"),
        )
        run = pipeline.run(
            scenario.config, meter=self.meter, environment=environment, connect=connect
        )
        task = self.loop.create_task(run)
        process.unwind = task.cancel
        self.loop.on_limit = lambda reason: self._hang(reason, task)
        timers = []
        if death.how == "time":
            timers.append(self.loop.call_later(death.after, machine.die, "time"))
        if death.how == "signal":
            timers.append(self.loop.call_later(death.after, self._signal, signals))
            if death.twice:
                timers.append(self.loop.call_later(death.after + 1, self._signal, signals))
        await asyncio.wait([task])
        for timer in timers:
            timer.cancel()
        signals.close()
        self.faults += chance.struck
        return self._note_end(task, process, is_last=is_last)

    def _hang(self, reason: str, task: asyncio.Task[Any]) -> None:
        self.note(Stopped(f"hangs: {reason}", is_defect=True))
        self.machine.die("hang")
        task.cancel()

    def _signal(self, signals: Signals) -> None:
        if not signals.are_heard:
            self.machine.die("signal")
            return
        self.note(Signalled())
        signals.send(signal.SIGTERM)

    def _note_end(self, task: asyncio.Task[Any], process: Process, *, is_last: bool) -> bool:
        """Note how a process ended; return whether the run is finished."""
        if not process.is_alive:
            if not task.cancelled():
                task.exception()  # whatever came of unwinding
            power = process.death.power
            self.note(Died(process.moment, power))
            self.deaths[process.moment] += 1
            self.machine.recover()
            return False
        error = task.exception()
        if error is None:
            ending = task.result()
            self.note(Stopped("finished" if ending.signal is None else "signal"))
            return ending.signal is None
        # A task that was about to hand something to a task that ended for the same reason.
        causes = [c for c in _causes(error) if not isinstance(c, anyio.BrokenResourceError)]
        text = "; ".join(f"{type(cause).__name__}: {cause}" for cause in causes)
        expected = all(
            isinstance(cause, RunStopped) and not isinstance(cause, StateError) for cause in causes
        )
        self.note(Stopped(text, is_defect=is_last or not causes or not expected))
        self.deaths["stopped itself"] += 1
        return False

    # The end

    def _look_at_the_end(self) -> None:
        left = self.leftovers
        count = len(self.scenario.items)
        meter = self.meter
        if meter.read != count or meter.completed + meter.dead != count:
            left.append(
                f"the meter read {meter.read}, completed {meter.completed}, dead {meter.dead} "
                f"of {count}"
            )
        if self.memory is not None and self.memory.free != self.memory.capacity:
            left.append(f"{self.memory.free} of {self.memory.capacity} bytes of memory are free")
        status = read_status(Path(LEDGER))
        if not status.finished or status.outstanding_records or status.running:
            left.append(f"the status is {status}")
        if (status.read, status.completed, status.dead) != (count, meter.completed, meter.dead):
            left.append(f"the status balances otherwise than the meter: {status}")
        if (status.split, status.parts) != (meter.split, meter.parts):
            left.append(f"split {meter.split} into {meter.parts}, by the status: {status}")
        lines: dict[Sink, tuple[Line, ...]] = {}
        for sink, path in FILES.items():
            if sink in self.scenario.queues:
                messages = self.cloud.sinks[sink].messages._messages.values()
                data = b"".join(message.body.encode() + b"\n" for message in messages)
            else:
                data = Path(path).read_bytes()
                shown = status.results_bytes if sink == "results" else status.dead_letter_bytes
                if shown != len(data):
                    left.append(f"{path} has {len(data)} bytes, the status says {shown}")
            lines[sink] = self.machine.lines(sink, data)
        left += self._verify()
        left += _ledger_leftovers(self.sizes)
        unread = self.cloud.unread()
        if unread and self.is_calm:
            left.append(f"messages left in the source: {unread}")
        self.note(
            Final(
                lines["results"],
                lines["dead"],
                status.repeated,
                tuple(unread),
                tuple(left),
                status.parts,
                tuple(self.cloud.left()),
                tuple(_discarded()),
            )
        )

    def _verify(self) -> list[str]:
        """Return what ``dispatcher ledger check`` calls damage."""
        results, dead = (
            None if sink in self.scenario.queues else path for sink, path in FILES.items()
        )
        findings = verify(read_snapshot(Path(LEDGER)), results=results, dead_letters=dead)
        return [finding.what for finding in findings if finding.is_damage]

    # What things are about

    def _record_at(self, position: Any) -> int:
        return self.numbers[position.message or f"{position.stream}:{position.line}"]

    def _read_line(self, sink: Sink, text: bytes) -> tuple[int, str, int | None]:
        try:
            line = orjson.loads(text)
            attempts = line.get("attempts", line.get("meta", {}).get("attempts"))
            return *self._judge(sink, line), attempts
        except (ValueError, KeyError, TypeError) as error:
            return -1, f"unreadable: {error!r}", None

    def _judge(self, sink: Sink, line: dict[str, Any]) -> tuple[int, str]:
        if sink == "dead":
            return self._judge_dead(line)
        join = self.scenario.config.sink.join
        content = (line["output"] if join != "input" else line["input"])["n"]
        # A record with a place for a key may bear the number of another one.
        number = self.numbers.get(str(line["key"]), content)
        item = self.by_number[number]
        if line["status"] != "completed" or line["key"] != item.key:
            return number, f"key {line['key']!r}, status {line['status']}"
        if join != "input":
            named = {} if self.scenario.config.packing.answer.id is None else {"id": item.key}
            if line["output"] != {"n": item.content, "twice": 2 * item.content, **named}:
                return number, "the output is wrong"
        if join != "output" and line["input"] != orjson.loads(item.raw):
            return number, "the input is wrong"
        return number, "right"

    def _judge_dead(self, line: dict[str, Any]) -> tuple[int, str]:
        key, reason = line["key"], line["reason"]
        number = self.numbers.get(str(key))
        if number is None:
            number = line["input"]["n"]
        item = self.by_number[number]
        if key != item.key:
            return number, f"the key is {key!r}"
        if not item.refusal and line["input"] != orjson.loads(item.raw):
            return number, "the input is wrong"
        return number, reason


def _discarded() -> list[str]:
    """Return what the ledger says is still to be deleted in S3."""
    with sqlite3.connect(f"file:{LEDGER}?mode=ro", uri=True) as db:
        found = [location for (location,) in db.execute("SELECT location FROM discarded")]
    db.close()
    return found


def _ledger_leftovers(sizes: Mapping[str, int]) -> Iterator[str]:
    with sqlite3.connect(f"file:{LEDGER}?mode=ro", uri=True) as db:
        if rows := db.execute("SELECT id, state FROM invocation").fetchall():
            yield f"invocations left in the ledger: {rows}"
        for name, mark in db.execute("SELECT name, mark FROM stream"):
            if name == SOURCE:
                continue
            if rows := db.execute("SELECT * FROM settled_range").fetchall():
                yield f"ranges left above the mark: {rows}"
            if mark != sizes[name]:
                yield f"the mark of {name} stands at {mark} of {sizes[name]}"
    db.close()
    spooled = sum(path.stat().st_size for path in Path(LEDGER + ".spool").glob("*"))
    if spooled > 32_000_000:
        yield f"{spooled} bytes left in the spool"


def _causes(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    else:
        yield error


def _sweep_out() -> None:
    for path in sorted(Path().rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
