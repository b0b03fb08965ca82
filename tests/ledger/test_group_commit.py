"""Writers that arrive together share a commit, and each of them sees its failure."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace

import anyio
import anyio.lowlevel
import pytest

from dispatcher.errors import StateError
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.operations import Operation
from dispatcher.ledger.outcome import Settlement
from dispatcher.packing.parcel import Parcel

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Pack = Callable[..., Parcel]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]
WAIT_SECONDS = 10


@dataclass
class Disk:
    """The ledger's disk: counts commits, can be made to stand still or to fail."""

    ledger: Ledger
    commits: int = 0
    at_work: bool = False
    fails: Exception | None = None
    moves: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._apply = self.ledger._store.apply
        self.moves.set()

    def apply(self, operations: Sequence[Operation]) -> None:
        assert not self.at_work, "two threads write at once"
        self.at_work = True
        try:
            self.commits += 1
            assert self.moves.wait(WAIT_SECONDS)
            if self.fails is not None:
                raise self.fails
            self._apply(operations)
        finally:
            self.at_work = False


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ledger], Disk]:
    def _watch(ledger: Ledger) -> Disk:
        disk = Disk(ledger)
        monkeypatch.setattr(ledger._store, "apply", disk.apply)
        return disk

    return _watch


async def busy(disk: Disk) -> None:
    """Wait until a commit is under way and all others have queued behind it."""
    with anyio.fail_after(WAIT_SECONDS):
        while not disk.at_work:
            await anyio.lowlevel.checkpoint()
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def test_many_writers_share_two_commits_and_everything_is_there(
    run: Run, parcel: Pack, watch: Callable[[Ledger], Disk]
) -> None:
    async with run() as ledger:
        disk = watch(ledger)
        disk.moves.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.plan, [parcel(0)])
            await busy(disk)
            for number in range(1, 50):
                group.start_soon(ledger.plan, [parcel(number)])
            await busy(disk)
            assert ledger.outstanding == 0, "nothing may be sent before the commit"
            disk.moves.set()
        assert disk.commits == 2
        assert ledger.outstanding == 50
    async with run() as ledger:
        assert ledger.outstanding == 50
        keys = {e.record_refs[0].key for e in ledger._entries.values()}
        assert keys == {f"k{number}" for number in range(50)}
        for entry in ledger._entries.values():
            assert await ledger.raws(entry) == [
                b'{"n": %s}' % str(entry.record_refs[0].key)[1:].encode()
            ]


async def test_plans_settlements_and_acceptances_travel_together(
    run: Run, parcel: Pack, completed: Completed, watch: Callable[[Ledger], Disk]
) -> None:
    async with run() as ledger:
        planned = await ledger.plan([parcel(n) for n in range(20)])
        disk = watch(ledger)
        disk.moves.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: ledger.remember(first="1"))
            await busy(disk)
            for invocation in planned:
                assert ledger.accept(invocation, 1.5, None, None)
            group.start_soon(ledger.plan, [parcel(20)])
            for number in range(1, 11):
                group.start_soon(ledger.settle, completed(ledger, [number]), {})
            await busy(disk)
            disk.moves.set()
        assert disk.commits == 2
    async with run() as ledger:
        assert ledger.outstanding == 11
        assert len(ledger.accepted()) == 10
        assert ledger.marks["a.jsonl"].offset == 100
        assert dict(ledger.tallies) == {"completed": 10}


async def test_a_late_acceptance_of_what_is_being_settled_changes_nothing(
    run: Run, parcel: Pack, completed: Completed, watch: Callable[[Ledger], Disk]
) -> None:
    async with run() as ledger:
        [planned] = await ledger.plan([parcel(0)])
        disk = watch(ledger)
        disk.moves.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.settle, completed(ledger, [1]), {})
            await busy(disk)
            assert not ledger.accept(planned, 1.5, None, None)
            disk.moves.set()
        assert ledger.outstanding == 0


async def collect(work: Callable[[], object], errors: list[Exception]) -> None:
    """Run something awaitable and keep its error."""
    try:
        await work()  # type: ignore[misc]
    except Exception as error:
        errors.append(error)


@pytest.mark.parametrize(
    "failure", [StateError("the disk is full"), OSError(5, "I/O error"), RuntimeError("a defect")]
)
async def test_a_failure_reaches_everyone_who_waits_and_all_who_come_later(
    run: Run, parcel: Pack, watch: Callable[[Ledger], Disk], failure: Exception
) -> None:
    errors: list[Exception] = []
    async with run() as ledger:
        await ledger.plan([parcel(0)])
        assert repr(ledger._group_commit) == "<GroupCommit idle, waiting operations: 0>"
        disk = watch(ledger)
        disk.moves.clear()
        disk.fails = failure
        async with anyio.create_task_group() as group:
            group.start_soon(collect, lambda: ledger.plan([parcel(1)]), errors)
            await busy(disk)
            for number in range(2, 10):
                group.start_soon(collect, lambda n=number: ledger.plan([parcel(n)]), errors)
            await busy(disk)
            assert repr(ledger._group_commit) == "<GroupCommit writing, waiting operations: 8>"
            disk.moves.set()
        assert len(errors) == 9
        assert errors[0] is failure
        assert all(isinstance(error, StateError) for error in errors[1:])
        assert ledger.outstanding == 1, "nothing may be sent that is not durable"
        disk.fails = None
        with pytest.raises(StateError):
            await ledger.remember(later="1")
        assert disk.commits == 1, "after a failure nothing is written any more"
        assert repr(ledger._group_commit) == "<GroupCommit failed, waiting operations: 9>"
    async with run() as ledger:
        assert ledger.outstanding == 1
        assert ledger.fact("later") is None


async def test_what_cannot_be_stored_takes_its_whole_group_along_and_says_so(
    run: Run, parcel: Pack, watch: Callable[[Ledger], Disk]
) -> None:
    """A value that no column holds is a defect; its neighbours must not succeed."""
    impossible = parcel(2)
    impossible.records = [replace(impossible.records[0], key=2**70), *impossible.records[1:]]
    errors: list[Exception] = []
    async with run() as ledger:
        disk = watch(ledger)
        disk.moves.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.plan, [parcel(0)])
            await busy(disk)
            for planned in (parcel(1), impossible, parcel(3)):
                group.start_soon(collect, lambda p=planned: ledger.plan([p]), errors)
            await busy(disk)
            disk.moves.set()
        assert len(errors) == 3
        assert ledger.outstanding == 1
        assert not ledger._store._db.in_transaction
    async with run() as ledger:
        assert ledger.outstanding == 1


async def test_a_writer_that_is_cancelled_still_writes(
    run: Run, parcel: Pack, watch: Callable[[Ledger], Disk]
) -> None:
    async with run() as ledger:
        disk = watch(ledger)
        disk.moves.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.plan, [parcel(0)])
            group.start_soon(ledger.plan, [parcel(1)])
            await busy(disk)
            group.cancel_scope.cancel()
            disk.moves.set()
        assert ledger.outstanding == 2
    async with run() as ledger:
        assert ledger.outstanding == 2


async def test_a_task_cancelled_without_regard_to_shields_stops_the_ledger(
    run: Run, parcel: Pack, watch: Callable[[Ledger], Disk]
) -> None:
    """asyncio's own cancel leaves a thread at work; nothing may write beside it."""
    async with run() as ledger:
        disk = watch(ledger)
        disk.moves.clear()
        task = asyncio.ensure_future(ledger.plan([parcel(0)]))
        await busy(disk)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(StateError, match="interrupted"):
            await ledger.remember(later="1")
        disk.moves.set()
        with anyio.fail_after(WAIT_SECONDS):
            while disk.at_work:
                await anyio.lowlevel.checkpoint()
        assert disk.commits == 1


async def test_the_last_words_are_written_at_the_end_though_the_run_is_cancelled(
    run: Run, parcel: Pack
) -> None:
    with anyio.CancelScope() as scope:
        async with run() as ledger:
            [planned] = await ledger.plan([parcel(0)])
            ledger.accept(planned, 1.5, None, None)
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    async with run() as ledger:
        assert len(ledger.accepted()) == 1
