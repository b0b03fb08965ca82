"""Disks that are full, broken, read-only or cut short: a clear stop, or all of it; never wrong.

Small and read-only disks are real ones, in a mount namespace that ``unshare`` makes (util-linux).
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatcher.connectors.jsonl.sink import JsonlFile
from dispatcher.errors import StateError
from dispatcher.ledger.open import open_ledger
from tests.faults import wal
from tests.payloads import codec

GOOD, BAD = 120, 60
"""Records that complete, and lines that are no JSON and become dead letters."""


@pytest.fixture(scope="module")
def fork_server() -> Iterator[subprocess.Popen[str]]:
    """Start the process that all runs of this file are forked from."""
    with subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", sys.executable, "-m", "tests.faults.fork_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@dataclass
class Disk:
    """A folder with a run in it, as the process of the fork server sees it: with its mounts."""

    folder: Path
    fork_server: subprocess.Popen[str]

    @property
    def seen(self) -> Path:
        """The folder with what is mounted in it."""
        return Path(f"/proc/{self.fork_server.pid}/root{self.folder}")

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self.fork_server.stdin is not None
        assert self.fork_server.stdout is not None
        self.fork_server.stdin.write(json.dumps(order) + "\n")
        self.fork_server.stdin.flush()
        answer: dict[str, Any] = json.loads(self.fork_server.stdout.readline())
        return answer

    def mount(self, *arguments: str) -> None:
        done = self.ask(mount=arguments)
        assert done["code"] == 0, done["said"]

    def small(self, name: str, size: str) -> None:
        """Put a disk of this size where a folder is."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.mount("-t", "tmpfs", "-o", f"size={size}", "small", str(self.folder / name))

    def grow(self, name: str) -> None:
        self.mount("-o", "remount,size=50m", str(self.folder / name))

    def freeze(self, name: str) -> None:
        """Make a file or folder read-only, for every user."""
        place = str(self.folder / name)
        self.mount("--bind", place, place)
        self.mount("-o", "remount,bind,ro", place)

    def thaw(self, name: str) -> None:
        self.mount("-o", "remount,bind,rw", str(self.folder / name))

    def run(self, **order: Any) -> tuple[int, str]:
        """Run to the end; return the exit code and what was said."""
        arguments = ["run", "w.yaml", "--progress", "none"]
        done = self.ask(run=arguments, folder=str(self.folder), **order)
        said = " ".join(done["said"].split())
        assert "this is a bug" not in said, said
        return done["code"], said

    def die(self, completed: int = 20) -> None:
        """Run until so many records are completed, dead letters written, others outstanding."""
        code, said = self.run(killed=completed)
        assert code == -9, said
        self.is_sound()

    def is_sound(self) -> None:
        """See that the ledger and its files are whole; wherever a run stops, they are."""
        done = self.ask(run=["ledger", "check", "w.yaml"], folder=str(self.folder))
        assert done["code"] == 0, done

    def refuses(self, words: str, *, code: int | None = None, **order: Any) -> None:
        """Run into a clear stop before anything was done; what was durable is as it was."""
        before = self.kept()
        stopped, said = self.run(**order)
        assert stopped == code if code else stopped in (1, 3), said
        assert words in said
        assert self.kept() == before

    def kept(self) -> list[Any]:
        """Return what is durable."""
        path = self.folder / "state" / "ledger.db"
        files = [self.seen / "out" / "results.jsonl", self.seen / "letters" / "dead.jsonl"]
        return [wal.dump(path), *(file.read_bytes() if file.is_file() else None for file in files)]

    def finishes(self) -> None:
        """Run to the end, and hold every line of both files against the records."""
        code, said = self.run()
        assert code == 2, said
        assert f"read {GOOD + BAD} = completed {GOOD} + dead {BAD}" in said
        self.is_sound()
        results = Counter(line["key"] for line in self.lines("results"))
        assert results == {f"r{n}": 1 for n in range(GOOD)}
        assert all(line["output"]["id"] == line["key"] for line in self.lines("results"))
        dead = Counter(base64.b64decode(d["input"]["base64"]) for d in self.lines("dead"))
        assert dead == {bad_line(n): 1 for n in range(BAD)}

    def put_back(self, copy: str) -> None:
        """Let a copy take the place of the ledger's folder."""
        shutil.rmtree(self.folder / "state")
        shutil.copytree(self.folder / copy, self.folder / "state")

    def settled(self) -> int:
        shown = self.status()
        return int(shown["completed"] + shown["dead"])

    def status(self) -> dict[str, Any]:
        done = self.ask(run=["status", "w.yaml", "--json"], folder=str(self.folder))
        shown: dict[str, Any] = json.loads(done["out"])
        return shown

    def lines(self, name: str) -> list[Any]:
        folder = {"results": "out", "dead": "letters"}[name]
        text = (self.seen / folder / f"{name}.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


def bad_line(number: int) -> bytes:
    return b"{broken %d " % number + b"y" * 800


@pytest.fixture
def disk(tmp_path: Path, fork_server: subprocess.Popen[str]) -> Disk:
    """Write records, good and bad ones mixed, and a configuration with a folder for each file."""
    lines = [json.dumps({"id": f"r{n}", "text": "x" * 800}).encode() for n in range(GOOD)]
    for number in range(BAD):
        lines.insert(3 * number, bad_line(number))
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([*lines, b""]))
    config = {
        "endpoint": "emulated",
        "emulator": {"service_time": "10ms", "instances": 8, "state": "cloud"},
        "completion": {"sweep_after": "200ms"},
        "source": {"path": "in.jsonl", "key": "id"},
        "limits": {"outstanding": 20},
        "ledger": {"path": "state/ledger.db"},
        "sink": {"path": "out/results.jsonl"},
        "dead_letters": {"path": "letters/dead.jsonl"},
    }
    (tmp_path / "w.yaml").write_text(json.dumps(config))  # JSON is YAML
    for name in ("state", "out", "letters"):
        (tmp_path / name).mkdir()
    return Disk(tmp_path, fork_server)


# Full


FULL = {
    "state": ("160k", "cannot write the ledger: database or disk is full. Make sure that its disk"),
    "state/ledger.db.spool": ("48k", "No space left on device. Free some space and run the same"),
    "out": ("48k", "results.jsonl cannot grow (No space left on device); make room and run the"),
    "letters": ("32k", "dead.jsonl cannot grow (No space left on device); make room and run the"),
}


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_stops_the_run_and_with_room_it_goes_on(disk: Disk, name: str) -> None:
    size, words = FULL[name]
    disk.small(name, size)
    if name == "state":  # only the database is to fill up
        (disk.folder / "spool").mkdir()
        (disk.seen / "state/ledger.db.spool").mkdir()
        place = str(disk.folder / "state/ledger.db.spool")
        disk.mount("--bind", str(disk.folder / "spool"), place)
    for _ in ("full", "still full"):
        code, said = disk.run()
        assert code == 3, said
        assert words in said
        disk.is_sound()
    disk.grow(name)
    assert disk.status()["read"] > 0
    disk.finishes()


def test_a_disk_that_has_no_room_to_begin_with(disk: Disk) -> None:
    disk.small("state", "4k")
    (disk.seen / "state/full").write_bytes(b"0" * 4096)
    code, said = disk.run()
    assert code == 3, said
    assert "ledger state/ledger.db" in said
    assert not (disk.seen / "out/results.jsonl").exists()
    disk.grow("state")
    disk.finishes()


# Read-only


PLACES = {
    "state/ledger.db": "cannot write the ledger: attempt to write a readonly database. Make sure",
    "state/ledger.db.spool": "state/ledger.db: {why} at state/ledger.db.spool/",
    "out/results.jsonl": "out/results.jsonl cannot be opened for writing ({why}); correct the",
    "letters/dead.jsonl": "letters/dead.jsonl cannot be opened for writing ({why}); correct the",
}


def test_places_that_are_mounted_read_only(disk: Disk) -> None:
    disk.die()
    places = {"state": "cannot use the ledger state/ledger.db: {why} at state", **PLACES}
    for name, words in places.items():
        disk.freeze(name)
        disk.refuses(words.format(why="Read-only file system"))
        disk.is_sound()
        disk.thaw(name)
    disk.finishes()


def test_places_without_permission(disk: Disk) -> None:
    disk.die()
    for name, words in PLACES.items():
        place = disk.folder / name
        before = place.stat().st_mode
        place.chmod(0o555 if place.is_dir() else 0o444)
        disk.refuses(words.format(why="Permission denied"), plain=True)
        place.chmod(before)
    disk.finishes()


def test_a_folder_for_results_that_may_not_be_written(disk: Disk) -> None:
    disk.freeze("out")
    code, said = disk.run()
    assert code == 1, said
    assert "out/results.jsonl cannot be opened for writing (Read-only file system)" in said
    disk.thaw("out")
    disk.finishes()


# Changed between two processes of a run


Change = Callable[[Path], object]


def become(content: bytes) -> Change:
    return lambda path: path.write_bytes(content)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def zero_the_end(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-3000] + bytes(3000))


CHANGES: dict[str, tuple[Change, str]] = {
    "shrank": (lambda path: os.truncate(path, 1000), "is shorter (1000 bytes)"),
    "emptied": (become(b""), "is shorter (0 bytes)"),
    "vanished": (Path.unlink, "is missing, but the ledger recorded results in it"),
    "replaced": (become(b"x" * 1_000_000), "it was edited or belongs to another run"),
    "blocks of zeros": (zero_the_end, "it was edited or belongs to another run"),
    "a folder": (make_folder, "is a folder; name a file in it"),
}


@pytest.mark.parametrize("name", ["out/results.jsonl", "letters/dead.jsonl"])
def test_a_file_that_is_not_what_was_written_is_refused(disk: Disk, name: str) -> None:
    disk.die()
    path = disk.folder / name
    data = path.read_bytes()
    for change, words in CHANGES.values():
        change(path)
        disk.refuses(f"{name} {words}" if words.startswith("is") else words)
        if path.is_dir():
            path.rmdir()
        path.write_bytes(data)
    path.write_bytes(data + b'{"key": "half a li')  # what is written last may be torn
    disk.finishes()


def test_a_ledger_that_is_gone_is_not_begun_again_over_its_results(disk: Disk) -> None:
    disk.die()
    shutil.copytree(disk.folder / "state", disk.folder / "copy")
    for gone in (["ledger.db"], ["ledger.db-wal"], ["ledger.db", "ledger.db-wal", "ledger.db-shm"]):
        for name in gone:
            (disk.folder / "state" / name).unlink()
        code, said = disk.run()
        assert code == 3, said
        assert "bytes from another run: this run's ledger knows nothing of them" in said
        disk.put_back("copy")
    disk.finishes()


def test_the_shared_memory_of_the_ledger_is_worth_nothing(disk: Disk) -> None:
    disk.die()
    (disk.folder / "state/ledger.db-shm").write_bytes(b"x" * 32_768)
    disk.finishes()


# An older ledger with newer results


def test_a_ledger_restored_from_an_older_copy_goes_on_from_there(disk: Disk) -> None:
    disk.die(completed=20)
    shutil.copytree(disk.folder / "state", disk.folder / "copy")
    disk.die(completed=70)
    disk.put_back("copy")
    disk.finishes()
    disk.put_back("copy")
    disk.finishes()


def test_a_log_that_is_gone_leaves_an_older_ledger(disk: Disk) -> None:
    disk.die(completed=20)
    disk.freeze("out")
    disk.refuses("", code=1)  # closes the ledger in order, which empties the log
    disk.thaw("out")
    before = disk.settled()
    disk.die(completed=70)
    newer = disk.settled()
    (disk.folder / "state/ledger.db-wal").unlink()
    assert before <= disk.settled() < newer
    disk.finishes()


def test_a_copy_older_than_a_later_way_of_the_run_is_refused(disk: Disk) -> None:
    """Results that were cut back and written again are not those that the other copy knows."""
    disk.die(completed=20)
    shutil.copytree(disk.folder / "state", disk.folder / "older")
    disk.die(completed=70)
    shutil.copytree(disk.folder / "state", disk.folder / "newer")
    results = (disk.folder / "out/results.jsonl").read_bytes()
    disk.put_back("older")
    disk.finishes()
    disk.put_back("newer")
    known = disk.status()["results_bytes"]
    (disk.folder / "out/results.jsonl").write_bytes(b"z" * known + b"\n")
    disk.refuses("it was edited or belongs to another run")
    (disk.folder / "out/results.jsonl").write_bytes(results)
    disk.finishes()


# A broken disk


@pytest.mark.parametrize("name", ["out/results.jsonl", "letters/dead.jsonl"])
def test_lines_whose_sync_failed_are_not_taken_for_written(disk: Disk, name: str) -> None:
    code, said = disk.run(unsynced=name)
    assert code == 3, said
    assert f"{name} could not be written to disk (Input/output error); when it can, run" in said
    disk.is_sound()
    status = disk.status()
    if name.startswith("out"):
        assert (status["completed"], status["results_bytes"]) == (0, 0)
    else:
        assert (status["dead"], status["dead_letter_bytes"]) == (0, 0)
    assert (disk.folder / name).stat().st_size > 0
    assert status["outstanding_records"] > 0
    disk.finishes()


def test_a_ledger_whose_sync_failed(disk: Disk) -> None:
    code, said = disk.run(unsynced="state/ledger.db-wal", after=9)
    assert code == 3, said
    assert "cannot write the ledger: disk I/O error. Make sure that its disk has space" in said
    disk.is_sound()
    assert disk.status()["read"] > 0
    disk.finishes()


# The end of the ledger's log, cut and damaged


@pytest.fixture
def memory() -> Iterator[Path]:
    """Return a folder whose syncs cost nothing where there is one: a log is tried often."""
    with tempfile.TemporaryDirectory(dir=wal.memory()) as name:
        yield Path(name)


def test_a_log_cut_or_damaged_anywhere_leaves_the_last_whole_transaction(memory: Path) -> None:
    """Tries the edges of every frame; ``python -m tests.faults.wal`` tries every byte."""

    async def try_all() -> None:
        image = await wal.make_image(memory)
        start = image.moments[-4].log_bytes
        edges = range(start, len(image.log), wal.FRAME_BYTES)
        assert len(edges) >= 6
        offsets = [e + at for e in edges for at in (0, 1, 4, 7, 8, 16, 23, 24, 25, 2_000, 4_119)]
        reached = set()
        for what, log, expected in wal.damages(image, offsets):
            assert await wal.wrong(image, log, expected, memory / "try") is None, what
            reached.add(image.moments.index(expected))
        assert len(reached) == 3

    anyio.run(try_all)


def test_a_log_whose_header_is_damaged_is_no_run_and_leaves_the_results(memory: Path) -> None:
    async def go_on(path: Path) -> None:
        async with open_ledger(path, codec=codec("lines")) as ledger:
            JsonlFile.open(str(path.with_name("results.jsonl")), ledger.sink("results")).close()

    image = anyio.run(wal.make_image, memory)
    lines = (image.folder / "results.jsonl").read_bytes()
    for offset in range(wal.HEADER_BYTES):
        log = bytearray(image.log)
        log[offset] ^= 0x10
        path = shutil.copytree(image.folder, memory / f"try{offset}") / "ledger.db"
        path.with_name("ledger.db-wal").write_bytes(log)
        with pytest.raises(StateError, match=r"cannot be (opened|read)|from another run"):
            anyio.run(go_on, path)
        assert path.with_name("results.jsonl").read_bytes() == lines
