"""A ledger that cannot be opened is refused with one sentence, never with a traceback."""

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from shutil import rmtree

import anyio
import pytest

from dispatcher.errors import StateError
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.open import open_ledger
from dispatcher.ledger.outcome import Settlement
from dispatcher.packing.parcel import Parcel
from dispatcher.records.record import Position, Record
from tests.ledger.refusal import refused
from tests.payloads import codec

Run = Callable[..., AbstractAsyncContextManager[Ledger]]
Pack = Callable[..., Parcel]
Completed = Callable[[Ledger, Sequence[int]], list[Settlement]]


async def test_an_empty_file_is_a_new_ledger(run: Run, path: Path) -> None:
    path.parent.mkdir()
    with path.open("w"):
        pass
    async with run() as ledger:
        assert ledger.is_new


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


async def test_a_place_that_cannot_be_written_to() -> None:
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
async def test_a_full_disk_stops_the_run_and_keeps_what_was_reported_durable(
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
