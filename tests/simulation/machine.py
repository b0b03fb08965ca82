"""The machine that processes live and die on: its files, and the moments at which it can stop.

Files are real, in the current folder. What is written, synced and cut of the sinks, and every
transaction of the ledger, is noted as it happens, at any place of the code.
"""

import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dispatcher.ledger.invocation import unpack_record_refs
from dispatcher.ledger.states import State
from tests.simulation.history import Committed, Cut, Fact, Found, Line, Sink, Synced, Wrote
from tests.simulation.scenario import DEAD, LEDGER, RESULTS, Death

SINKS: dict[str, Sink] = {RESULTS: "results", DEAD: "dead"}
_STATE = Path(LEDGER).parent
_WAL = LEDGER + "-wal"

_pwrite, _fsync, _ftruncate = os.pwrite, os.fsync, os.ftruncate


class Killed(BaseException):
    """The process is dead: whatever still runs of it must end, and cannot do anything."""


class Process:
    """One life of the dispatcher.

    Attributes:
        is_alive: It may still touch the world.
        moment: Where it died, or "".
        files: What was on disk when it died.
    """

    def __init__(self, death: Death, rng: random.Random) -> None:
        self.death = death
        self.rng = rng
        self.is_alive = True
        self.moment = ""
        self.files: dict[str, bytes] = {}
        self.visits: Counter[str] = Counter()
        self.all_visits = 0
        self.view: dict[int, tuple[str, int]] | None = None
        self.unwind: Callable[[], object] = lambda: None

    def is_last(self, name: str) -> bool:
        """Count a visit, and return whether the process dies in it."""
        if not self.is_alive:
            raise Killed
        self.visits[name] += 1
        self.all_visits += 1
        death = self.death
        if death.how == "moment":
            return death.name == name and death.visit == self.visits[name]
        return death.how == "visit" and death.visit == self.all_visits


class Machine:
    """The place of the current process.

    Args:
        note: Adds a fact to the history.
        record_at: Returns the number of the record at a position.
        read_line: Returns what a line of a sink is about, and whether it is right.
    """

    def __init__(
        self,
        note: Callable[[Fact], None],
        record_at: Callable[[Any], int],
        read_line: Callable[[Sink, bytes], tuple[int, str, int | None]],
    ) -> None:
        self.note = note
        self.record_at = record_at
        self.read_line = read_line
        self.process = Process(Death("none"), random.Random(0))
        self._synced: dict[str, int] = {}
        self._names: dict[int, str] = {}

    # Dying

    def check_alive(self) -> None:
        """Let nothing go on that belongs to a dead process."""
        if not self.process.is_alive:
            raise Killed

    def reach(self, name: str) -> None:
        """Pass a moment, or die at it."""
        if self.process.is_last(name):
            self.die(name)
            raise Killed

    def die(self, moment: str) -> None:
        """End the process here and now: keep what is on disk, and cut it off from the world."""
        process = self.process
        if not process.is_alive:
            return
        process.moment = moment
        process.files = _snapshot()
        process.is_alive = False
        process.unwind()

    def begin(self, process: Process) -> None:
        """Let a process live here, with the files that the one before left."""
        self.process = process
        self._names.clear()

    def recover(self) -> None:
        """Put the disk back to where the dead process left it."""
        process = self.process
        files = process.files
        sizes = {name: len(files[name]) for name in SINKS if name in files}
        if process.death.power:
            sizes = self._lose_power(files, process.rng)
        for path in _paths():
            path.unlink()
        for name, data in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(data)
        for name, size in sizes.items():
            self.note(Cut(SINKS[name], size))

    def _lose_power(self, files: dict[str, bytes], rng: random.Random) -> dict[str, int]:
        """Take away what was never synced: of the sinks what came after, of the spool anything.

        Returns:
            What is left of the sinks.
        """
        sizes = {}
        for name in SINKS:
            if (data := files.get(name)) is not None:
                kept = rng.randint(min(self._synced.get(name, 0), len(data)), len(data))
                zeros = rng.choice((0, rng.randint(0, len(data) - kept)))
                files[name] = data[:kept] + bytes(zeros)
                sizes[name] = kept
        for name in [name for name in files if name.endswith(".spool")]:
            data = files[name]
            match rng.choice(("whole", "short", "zeros", "gone")):
                case "short":
                    files[name] = data[: rng.randint(0, len(data))]
                case "zeros":
                    kept = rng.randint(0, len(data))
                    files[name] = data[:kept] + bytes(len(data) - kept)
                case "gone":
                    del files[name]
        return sizes

    # Files, in place of the functions of ``os``

    def pwrite(self, file: int, data: Any, offset: int) -> int:
        name = self._name(file)
        if self.process.is_last("disk.write"):
            _pwrite(file, bytes(data)[: self.process.rng.randint(0, len(data))], offset)
            self.die("disk.write")
            raise Killed
        written = _pwrite(file, data, offset)
        if (sink := SINKS.get(name)) is not None:
            self.note(Wrote(sink, offset, self.lines(sink, bytes(data), offset)))
        return written

    def fsync(self, file: int) -> None:
        name = self._name(file)
        size = os.fstat(file).st_size
        if (sink := SINKS.get(name)) is not None:
            self._synced[name] = size
            self.note(Synced(sink, size))
        self.reach("disk.synced")

    def ftruncate(self, file: int, size: int) -> None:
        self.check_alive()
        _ftruncate(file, size)
        name = self._name(file)
        if (sink := SINKS.get(name)) is not None:
            self._synced[name] = min(size, self._synced.get(name, 0))
            self.note(Cut(sink, size))

    def _name(self, file: int) -> str:
        self.check_alive()
        number = os.fstat(file).st_ino
        if number not in self._names:
            self._names[number] = Path(f"/proc/self/fd/{file}").readlink().name
        return self._names[number]

    def lines(self, sink: Sink, data: bytes, start: int = 0) -> tuple[Line, ...]:
        """Read what was written to a sink from a position on."""
        found = []
        end = start
        for text in data.splitlines(keepends=True):
            end += len(text)
            record, verdict, attempts = self.read_line(sink, text)
            found.append(Line(record, end, verdict, attempts))
        return tuple(found)

    # The ledger, by its transactions

    def connect(self, path: Any, **options: Any) -> sqlite3.Connection:
        """Open a database; the ledger's writer is watched."""
        kind = _watched(self) if str(path) == LEDGER else sqlite3.Connection
        return kind(path, **options)

    def opened(self, db: sqlite3.Connection) -> None:
        """Note what a process finds in the ledger, before it writes for the first time."""
        if self.process.view is None:
            self.process.view = _rows(db)
            self.note(Found(tuple(id_ for id_, _ in self.process.view.values())))

    def commit(self, db: sqlite3.Connection) -> None:
        """Commit, or die in the middle of it; note what became durable."""
        process = self.process
        is_last = process.is_last("disk.commit")
        before = _size(_WAL)
        sqlite3.Connection.execute(db, "COMMIT")
        if is_last:
            after = _size(_WAL)
            self.die("disk.commit")
            if after > before:
                process.files[_WAL] = process.files[_WAL][: process.rng.randrange(before, after)]
                raise Killed
        self.note(self._committed(db))
        if is_last:
            raise Killed

    def _committed(self, db: sqlite3.Connection) -> Committed:
        def select(text: str, *values: Any) -> list[Any]:
            return sqlite3.Connection.execute(db, text, values).fetchall()

        before = self.process.view or {}
        now = _rows(db)
        self.process.view = now
        planned = []
        if new := [number for number in now if number not in before]:
            streams = dict(select("SELECT id, name FROM stream"))
            for number in new:
                wanted = "SELECT manifest FROM invocation WHERE number = ?"
                record_refs = unpack_record_refs(select(wanted, number)[0][0], streams)
                records = tuple(self.record_at(record_ref.position) for record_ref in record_refs)
                planned.append((now[number][0], records))
        marks = dict(select("SELECT name, position FROM sink"))
        return Committed(
            tuple(planned),
            tuple(
                id_
                for number, (id_, state) in now.items()
                if state == State.ACCEPTED and before.get(number) != (id_, state)
            ),
            tuple(id_ for number, (id_, _) in before.items() if number not in now),
            (marks.get(RESULTS, 0), marks.get(DEAD, 0)),
            len(now),
            bool(select("SELECT 1 FROM fact WHERE name = 'output_base'")),
        )


def _watched(machine: Machine) -> type[sqlite3.Connection]:
    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "COMMIT":
                machine.commit(self)
                return self.cursor()
            if sql.startswith("BEGIN"):
                machine.check_alive()
                machine.opened(self)
            return super().execute(sql, *parameters)

    return Watched


def _rows(db: sqlite3.Connection) -> dict[int, tuple[str, int]]:
    """Return id and state of each invocation, by number."""
    rows = sqlite3.Connection.execute(db, "SELECT number, id, state FROM invocation")
    return {number: (id_, state) for number, id_, state in rows}


def _paths() -> Sequence[Path]:
    found = [Path(name) for name in SINKS if Path(name).exists()]
    return found + [path for path in sorted(_STATE.rglob("*")) if path.is_file()]


def _snapshot() -> dict[str, bytes]:
    # SQLite makes its -shm file again from the -wal file.
    return {str(path): path.read_bytes() for path in _paths() if not path.name.endswith("-shm")}


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0
