"""A ledger that cannot be used is one sentence, whatever is wrong with it; never a traceback."""

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from random import Random
from shutil import rmtree
from sqlite3 import connect

import anyio
import pytest

from dispatcher.errors import StateError
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.operations import SinkMark
from dispatcher.ledger.outcome import Settlement
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record
from tests.payloads import codec

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Pack = Callable[..., Parcel]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]


async def refused(run: Run) -> str:
    """Open a ledger that cannot be opened, and return what the user is told."""
    with pytest.raises(StateError) as caught:
        async with run():
            pytest.fail("the ledger was opened")
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
async def whole(run: Run, path: Path, parcel: Pack, completed: Completed) -> bytes:
    """The file of a run with something of everything in it."""
    async with run() as ledger:
        planned = await ledger.plan([parcel(n * 50, 50) for n in range(40)])
        for invocation in planned[::3]:
            ledger.accept(invocation, 1.5, f"s3://out/{invocation.id}.out", None)
        await ledger.plan([parcel(n, stream="b.jsonl") for n in range(30)])
        await ledger.settle(completed(ledger, range(2, 60, 2)), {"results": SinkMark(9, 9, 9)})
    return path.read_bytes()


# The file


@pytest.mark.parametrize(
    "content", [b"not a ledger\n", bytes(range(256)) * 64, b"SQLite format 3\0" * 500, b"\0" * 8192]
)
async def test_another_file_in_its_place(run: Run, path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    message = await refused(run)
    assert "file is not a database" in message
    assert "name a new file in ledger.path" in message
    assert path.read_bytes() == content, "what is not ours is left as it was"


async def test_a_ledger_of_another_version(run: Run, path: Path) -> None:
    async with run():
        pass
    with closing(connect(path)) as db, db:
        db.execute("PRAGMA user_version = 99")
    assert "a ledger of a newer version (schema 99, not 3)" in await refused(run)


async def test_a_database_of_somebody_else(run: Run, path: Path) -> None:
    path.parent.mkdir()
    with closing(connect(path)) as db, db:
        db.execute("CREATE TABLE photos (name TEXT)")
    assert "a database of something else, not a ledger" in await refused(run)


async def test_a_file_cut_short_anywhere(run: Run, path: Path, whole: bytes) -> None:
    assert len(whole) > 40_000
    # From 2 bytes on: SQLite itself takes a file of one byte for an empty one.
    cuts = [2, 15, 16, 99, 100, 511, 512, 4_095, 4_096, 4_097, *range(5_000, len(whole), 3_001)]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        message = await refused(run)
        assert "It is damaged or not a ledger; restore it from a copy" in message, cut


async def test_random_damage_anywhere(
    run: Run, path: Path, whole: bytes, parcel: Pack, completed: Completed
) -> None:
    """Damage is noticed as such, or the ledger works; nothing else may come out of it."""
    rng = Random(7)
    noticed = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 4, 64])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.3:
            at = rng.randrange(len(damaged))
            damaged[at : at + 4096] = rng.randbytes(len(damaged[at : at + 4096]))
        for beside in path.parent.glob("ledger.db-*"):
            beside.unlink()
        path.write_bytes(damaged)
        try:
            async with run() as ledger:
                await ledger.plan([parcel(10_000)])
                await ledger.settle(completed(ledger, [ledger._numbers.last]), {})
        except StateError:
            noticed += 1
    assert noticed > 20


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE invocation SET manifest = x'01'",
        "UPDATE invocation SET manifest = x'9196010303040506'",  # an empty span
        "UPDATE invocation SET manifest = x'91960963646566a16b01'",
        "UPDATE invocation SET manifest = x'919601a161a162a163a16b01'",
        "UPDATE invocation SET manifest = 'text'",
        "UPDATE invocation SET state = 9",
        "UPDATE invocation SET state = 'planned'",
        "UPDATE invocation SET segment = 'one'",
        "UPDATE invocation SET planned_at = 'yesterday'",
        "UPDATE stream SET mark = 'start'",
        "UPDATE stream SET id = id + 100",
        "UPDATE settled_range SET stop = 'end'",
        "UPDATE tally SET records = 'many'",
        "UPDATE sink SET position = 'far'",
        "DROP TABLE sink",
        "ALTER TABLE fact RENAME COLUMN value TO worth",
    ],
)
async def test_rows_that_are_not_what_was_written(
    run: Run, path: Path, whole: bytes, change: str
) -> None:
    with closing(connect(path)) as db, db:
        db.execute(change)
    assert "It is damaged or not a ledger" in await refused(run)


# The place


async def test_a_folder_in_its_place(run: Run, path: Path) -> None:
    path.mkdir(parents=True)
    assert "unable to open database file" in await refused(run)


@pytest.mark.parametrize("below", ["file/ledger.db", "file/deeper/ledger.db"])
async def test_a_place_below_a_file(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")

    def run() -> AbstractAsyncContextManager[Ledger]:
        return open_ledger(tmp_path / below, codec=codec("none"))

    message = await refused(run)
    assert message.startswith(f"cannot use the ledger {tmp_path / below}: ")
    assert "whose folder can be written" in message


async def test_a_place_that_nobody_can_write_to() -> None:
    path = Path("/proc/dispatcher/ledger.db")

    def run() -> AbstractAsyncContextManager[Ledger]:
        return open_ledger(path, codec=codec("none"))

    assert (await refused(run)).startswith(f"cannot use the ledger {path}: ")


async def test_a_file_where_the_spool_should_be(run: Run, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("ledger.db.spool").write_text("")
    assert "File exists" in await refused(run)
    path.with_name("ledger.db.spool").unlink()
    async with run() as ledger:
        assert ledger.is_new


async def test_a_spool_that_goes_away_under_a_run(run: Run, path: Path, parcel: Pack) -> None:
    async with run() as ledger:
        rmtree(path.with_name("ledger.db.spool"))
        with pytest.raises(StateError, match=r"cannot write .*\.spool: No such file"):
            await ledger.plan([parcel(0)])
        assert ledger.outstanding == 0
    async with run() as ledger:
        assert ledger.outstanding == 0


async def test_errors_of_the_run_are_not_blamed_on_the_ledger(run: Run) -> None:
    async def fail() -> None:
        async with run():
            raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(ConnectionResetError):
        await fail()
    async with run() as ledger:
        assert not ledger.is_new


# A full disk


@pytest.mark.parametrize("payload", [100, 10_000], ids=["the database first", "the spool first"])
async def test_a_full_disk_stops_the_run_and_keeps_what_was_said_to_be_durable(
    run: Run, path: Path, payload: int
) -> None:
    child = subprocess.run(  # noqa: ASYNC221 - the loop has nothing else to do
        [sys.executable, __file__, str(path), str(payload)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    *planned, sentence = child.stdout.splitlines()
    assert planned
    assert sentence.startswith("cannot write ")
    assert "run the same command again" in sentence
    async with run() as ledger:
        assert sorted(map(int, planned)) == [p.number for p in ledger.resumed]
        assert ledger.without_payload() == []


async def fill_up(path: Path, payload: int) -> None:
    """Plan until the disk is full; runs in a process of its own."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    async with open_ledger(path, codec=codec("none")) as ledger:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        for number in range(10_000):
            parcels = []
            for at in (2 * number, 2 * number + 1):
                record = Record(
                    Position("a.jsonl", at, at + 1, at + 1), "k" * 1_000, b"1" * payload
                )
                parcels.append(Parcel([record], record.raw, "application/json", "inline"))
            try:
                planned = await ledger.plan(parcels)
            except StateError as error:
                print(error)  # noqa: T201 - read by the parent
                return
            for invocation in planned:
                print(invocation.number)  # noqa: T201 - read by the parent


if __name__ == "__main__":
    anyio.run(fill_up, Path(sys.argv[1]), int(sys.argv[2]))
