"""``dispatcher`` with an account of the CPU that its ledger takes: ``-m benchmarks.accounted``.

    python -m benchmarks.accounted OUT run CONFIG

Every entry point of the ledger's room ("door") is timed by the clock of the thread that calls it.
So waiting costs nothing and no other work is counted: what the event loop calls, step by step, and
the transactions on the worker thread. What is called inside of another door belongs to that one.
The account is written to OUT as JSON. The cost of reading the clock is measured at a door that
leads nowhere, and subtracted. The hop between threads is not counted.
"""

import functools
import inspect
import json
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

from dispatcher.cli.main import main
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import Accept, Operation, Plan, Settle
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.ledger.replay import ReplayFilter
from dispatcher.ledger.store.sqlite import SqliteStore

_Result = TypeVar("_Result")

_DOORS: dict[type, tuple[str, ...]] = {
    Ledger: (
        "plan",
        "wait_for_room",
        "restore",
        "remember",
        "adopt",
        "find",
        "find_id",
        "accept",
        "claim",
        "payload",
        "raws",
        "accepted",
        "settle",
        "flush_forever",
    ),
    ReplayFilter: ("look_up",),
    Spool: ("read",),
    SqliteStore: ("apply",),
}


_NOWHERE = "nowhere"
_CALIBRATIONS = 20_000


class Account:
    """Seconds of CPU and passages by door, and what the transactions held."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.booked: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self._inside = threading.local()

    def time(self, door: str, call: Callable[[], _Result]) -> _Result:
        """Call, and book what it took, unless it is part of what is booked already."""
        inside = self._inside
        if getattr(inside, "yes", False):
            return call()
        inside.yes = True
        began = time.thread_time()
        try:
            return call()
        finally:
            self.seconds[door] += time.thread_time() - began
            self.booked[door] += 1
            inside.yes = False

    def watch(self, kind: type, name: str) -> None:
        """Book a method of a class from now on."""
        method = getattr(kind, name)
        door = f"{kind.__name__}.{name}"
        if inspect.iscoroutinefunction(method):

            @functools.wraps(method)
            async def passed(*args: Any, **kwargs: Any) -> Any:
                self.passed[door] += 1
                return await _Steps(self, door, method(*args, **kwargs))

        else:

            @functools.wraps(method)
            def passed(*args: Any, **kwargs: Any) -> Any:
                self.passed[door] += 1
                return self.time(door, lambda: method(*args, **kwargs))

        setattr(kind, name, passed)

    def count(self, operations: list[Operation]) -> None:
        """Book what a transaction holds."""
        for operation in operations:
            match operation:
                case Plan():
                    self.held["plans"] += 1
                    self.held["planned"] += len(operation.entries)
                case Settle():
                    self.held["settles"] += 1
                    self.held["settled"] += len(operation.entries)
                case Accept():
                    self.held["accepted"] += 1

    def document(self) -> dict[str, dict[str, float]]:
        """Return all of it, without what reading the clock took."""
        for _ in range(_CALIBRATIONS):
            self.time(_NOWHERE, int)
        reading = self.seconds.pop(_NOWHERE) / _CALIBRATIONS
        net = {door: took - self.booked[door] * reading for door, took in self.seconds.items()}
        return {"seconds": net, "passed": dict(self.passed), "held": dict(self.held)}


class _Steps:
    """A coroutine whose steps are booked one by one; between them it waits, which is not booked."""

    def __init__(self, account: Account, door: str, coroutine: Any) -> None:
        self._account = account
        self._door = door
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, None, Any]:
        step = functools.partial(self._coroutine.send, None)
        while True:
            try:
                waits_for = self._account.time(self._door, step)
            except StopIteration as end:
                return end.value
            try:
                yield waits_for
            except BaseException as error:
                step = functools.partial(self._coroutine.throw, error)
            else:
                step = functools.partial(self._coroutine.send, None)


def _open_account() -> Account:
    account = Account()
    for kind, names in _DOORS.items():
        for name in names:
            account.watch(kind, name)
    apply = SqliteStore.apply

    def counted(store: SqliteStore, operations: list[Operation]) -> None:
        account.count(operations)
        apply(store, operations)

    SqliteStore.apply = counted  # type: ignore[method-assign, assignment]  # timed
    return account


if __name__ == "__main__":
    out = Path(sys.argv.pop(1))
    opened = _open_account()
    try:
        main()
    finally:
        out.write_text(json.dumps(opened.document()))
