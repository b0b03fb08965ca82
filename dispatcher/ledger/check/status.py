"""Status of a run, read from its ledger while the run goes on or after it."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from dispatcher.errors import ConfigError, StateError
from dispatcher.ledger.invocation import unpack_record_refs
from dispatcher.ledger.ledger import REPEATED
from dispatcher.ledger.replacement import PARTS, SPLIT
from dispatcher.ledger.states import State
from dispatcher.ledger.store.lock import is_locked


@dataclass(slots=True, frozen=True, kw_only=True)
class LedgerStatus:
    """State of a run at one moment.

    Attributes:
        run_tag: The beginning of its invocation ids.
        created: Epoch seconds.
        read: Records that are settled or outstanding.
        completed: Records with a result.
        dead: Records in the dead letters; by reason in ``dead_reasons``.
        planned: Invocations that are not known to be accepted.
        accepted: Invocations that are accepted and without an outcome.
        outstanding_records: Records of both.
        oldest_planned: Epoch seconds of the oldest of both, or None.
        marks: The place where each stream would be resumed: name, offset, line.
        results_bytes: Length of the settled part of the results file.
        dead_letter_bytes: Length of the settled part of the dead-letter file.
        repeated: Invocations that may have reached the service more than once.
        split: Failed invocations of several records that were split.
        parts: Invocations of the parts of split ones.
        running: A process holds the ledger now.
        finished: The source was read to its end and everything is settled.
    """

    run_tag: str
    created: float
    read: int
    completed: int
    dead: int
    dead_reasons: dict[str, int]
    planned: int
    accepted: int
    outstanding_records: int
    oldest_planned: float | None
    marks: list[tuple[str, int, int]]
    results_bytes: int
    dead_letter_bytes: int
    repeated: int
    split: int
    parts: int
    running: bool
    finished: bool


def read_status(path: Path) -> LedgerStatus:
    """Read a ledger without disturbing a run.

    Raises:
        ConfigError: There is no such ledger.
        StateError: The file cannot be read as a ledger.
    """
    if not path.is_file():
        raise _not_begun(path)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")  # one moment, whatever is committed meanwhile
            facts = dict(db.execute("SELECT name, value FROM fact"))
            if "tag" not in facts:  # killed, or read, before it had its name
                raise _not_begun(path)
            return _read(db, facts, running=is_locked(path))
    except (sqlite3.Error, KeyError, TypeError, ValueError) as error:
        why = error if isinstance(error, sqlite3.Error) else f"a row is damaged ({error!r})"
        raise StateError(
            f"the ledger {path} cannot be read: {why}. Restore it from a copy, or name a new file "
            "in ledger.path to begin a new run"
        ) from error


def _not_begun(path: Path) -> ConfigError:
    return ConfigError(
        f"there is no ledger at {path}: no run has begun with this configuration. Begin one "
        "with `dispatcher run`, or correct ledger.path"
    )


def _read(db: sqlite3.Connection, facts: dict[str, str], *, running: bool) -> LedgerStatus:
    tallies = dict(db.execute("SELECT name, records FROM tally"))
    sinks = dict(db.execute("SELECT name, position FROM sink"))
    terms = json.loads(facts.get("terms", "{}"))
    names = dict(db.execute("SELECT id, name FROM stream"))
    states = dict(db.execute("SELECT state, count(*) FROM invocation GROUP BY state"))
    records = sum(
        len(unpack_record_refs(manifest, names))
        for (manifest,) in db.execute("SELECT manifest FROM invocation")
    )
    completed = tallies.get("completed", 0)
    dead = {
        name.removeprefix("dead:"): count
        for name, count in sorted(tallies.items())
        if name.startswith("dead:")
    }
    return LedgerStatus(
        run_tag=facts["tag"],
        created=float(facts["created"]),
        read=completed + sum(dead.values()) + records,
        completed=completed,
        dead=sum(dead.values()),
        dead_reasons=dead,
        planned=states.get(State.PLANNED, 0),
        accepted=states.get(State.ACCEPTED, 0),
        outstanding_records=records,
        oldest_planned=db.execute("SELECT min(planned_at) FROM invocation").fetchone()[0],
        marks=db.execute("SELECT name, mark, line FROM stream ORDER BY id").fetchall(),
        results_bytes=sinks.get(terms.get("sink.path"), 0),
        dead_letter_bytes=sinks.get(terms.get("dead_letters.path"), 0),
        repeated=tallies.get(REPEATED, 0),
        split=tallies.get(SPLIT, 0),
        parts=tallies.get(PARTS, 0),
        running=running,
        finished=facts.get("finished") == "yes",
    )
