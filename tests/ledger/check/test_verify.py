"""Each kind of damage to a ledger is found and named, and a sound ledger has none."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.ledger.check.read import read_snapshot
from dispatcher.ledger.check.verify import Defect, verify
from tests.ledger.check.sample_run import QUEUE, Run, keep


def check(folder: Path, ledger: str = "ledger.db") -> list[Defect]:
    results, dead = (str(folder / name) for name in ("results.jsonl", "dead.jsonl"))
    return verify(read_snapshot(folder / ledger), results=results, dead_letters=dead)


# Sound


def test_a_run_with_something_of_everything_is_sound(folder: Path) -> None:
    before = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    snapshot = read_snapshot(folder / "ledger.db")
    assert len(snapshot.invocations) == 15
    assert len(snapshot.ranges) == 12
    assert len(snapshot.messages) == 13
    assert check(folder) == []
    after = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    assert {p: s.st_mtime_ns for p, s in after.items()} == {
        p: s.st_mtime_ns for p, s in before.items()
    }, "nothing is written"


Deed = tuple[str, int, int]

deeds = st.lists(
    st.tuples(
        st.sampled_from(["plan", "accept", "settle", "fail", "replace", "reject", "again"]),
        st.integers(0, 50),
        st.sampled_from([0, 1, 2]),
    ),
    max_size=40,
)


@given(deeds)
@settings(max_examples=20, deadline=None)
def test_whatever_a_run_does_and_whenever_it_dies_its_ledger_is_sound(story: list[Deed]) -> None:
    async def act(run: Run, deeds: Sequence[Deed], heads: dict[str, int]) -> None:
        for deed, number, where in deeds:
            stream = ("a.jsonl", "b.jsonl", QUEUE)[where]
            live = [entry.planned for entry in (*run.ledger.planned(), *run.ledger.accepted())]
            chosen = live[number % len(live)] if live else None
            head = heads.get(stream, 0)
            match deed:
                case "plan":
                    count = 1 + number % 4
                    await run.plan(head, count, stream)
                    heads[stream] = head + count
                case "reject":
                    await run.reject(head, stream)
                    heads[stream] = head + 1
                case "accept" if chosen:
                    run.ledger.accept(chosen, 5.0, f"s3://out/{number}", None)
                case "settle" if chosen:
                    await run.settle(chosen)
                case "fail" if chosen:
                    await run.settle(chosen, reason="expired")
                case "replace" if chosen:
                    await run.ledger.replace(run.entry(chosen), after=1.0)

    async def live(folder: Path) -> None:
        heads: dict[str, int] = {}
        cut = [i for i, deed in enumerate(story) if deed[0] == "again"]
        for start, stop in zip([0, *cut], [*cut, len(story)], strict=True):

            async def process(run: Run, part: Sequence[Deed] = story[start:stop]) -> None:
                await act(run, part, heads)
                # As a kill -9 leaves it at this moment.
                for path in folder.glob("ledger.db*"):
                    killed = folder / path.name.replace("ledger", "killed")
                    if path.is_dir():
                        shutil.rmtree(killed, ignore_errors=True)
                        shutil.copytree(path, killed)
                    else:
                        shutil.copy(path, killed)

            await keep(folder, process)
            assert check(folder, "killed.db") == []
            assert check(folder) == []

    with tempfile.TemporaryDirectory() as name:
        anyio.run(live, Path(name))


# Damaged


DAMAGES = {
    # Names and numbers
    "DELETE FROM fact WHERE name = 'tag'": "The run has no tag",
    "UPDATE fact SET value = 'short' WHERE name = 'tag'": "not a valid one: 'short'",
    "UPDATE fact SET value = 'abcdefgh' WHERE name = 'tag'": "which are not its",
    "UPDATE fact SET value = 'soon' WHERE name = 'created'": "The fact 'created' cannot be read",
    "UPDATE fact SET value = '{' WHERE name = 'terms'": "The fact 'terms' cannot be read",
    "UPDATE fact SET value = x'00' WHERE name = 'terms'": "A row of fact is damaged",
    "UPDATE fact SET value = 'yes' WHERE name = 'finished'": "finished, with 15 invocations",
    "UPDATE tally SET records = 'many'": "A row of tally is damaged ('completed': 'many'",
    "UPDATE tally SET records = -1 WHERE name = 'completed'": "A row of tally is damaged",
    # Marks and ranges
    "UPDATE stream SET mark = -5 WHERE id = 1": "A row of stream is damaged (1: -5 is below zero)",
    "UPDATE stream SET line = 0 WHERE id = 4": "A row of stream is damaged (4: mark 40 at line 0)",
    "UPDATE stream SET mark = 50, line = 5 WHERE id = 1": "30 to 90 of a.jsonl reaches below the",
    "UPDATE stream SET mark = 30, line = 3 WHERE id = 1": "30 to 90 of a.jsonl adjoins the mark 30",
    "UPDATE settled_range SET stop = start WHERE stream = 1": "is damaged (1: the range is empty)",
    "UPDATE settled_range SET stop = 125 WHERE start = 30": "120 to 150 of a.jsonl reaches below",
    "UPDATE settled_range SET stop = 120 WHERE start = 30": "120 to 150 of a.jsonl adjoins the ran",
    "UPDATE settled_range SET line = 2 WHERE start = 120": "ends at line 2, not after the lines",
    "UPDATE settled_range SET stop = 'end' WHERE stream = 1": "A row of settled_range is damaged",
    "UPDATE settled_range SET stream = 77 WHERE start = 300 AND stream = 1": "belongs to no stream",
    # Invocations
    "UPDATE sqlite_sequence SET seq = 5": "has a number above 5, the highest one given",
    "DELETE FROM sqlite_sequence": "has a number above 0, the highest one given",
    "UPDATE invocation SET id = id || 'x'": "which are not its",
    "UPDATE invocation SET shard = 'elsewhere'": "in elsewhere, which are not its",
    "UPDATE invocation SET state = 3": "an invocation that is settled has no row",
    "UPDATE invocation SET state = 9": "9 is not a valid State",
    "UPDATE invocation SET state = 2 WHERE accepted_at IS NULL": "its state and its times do not",
    "UPDATE invocation SET state = 1": "its state and its times do not fit",
    "UPDATE invocation SET route = 'pigeon'": "'pigeon' is not a route",
    "UPDATE invocation SET attempt = 0": "-1 is below zero",
    "UPDATE invocation SET first_attempt = 0": "-1 is below zero",
    "UPDATE invocation SET first_attempt = attempt + 1": "-1 is below zero",
    "UPDATE invocation SET size = size + 1": "bytes do not hold",
    "UPDATE tally SET records = 1.5 WHERE name = 'parts'": "A row of tally is damaged ('parts'",
    "UPDATE invocation SET planned_at = 'yesterday'": "'yesterday' is not a time",
    "UPDATE invocation SET not_before = 'later'": "'later' is not a time",
    "UPDATE invocation SET segment = 'one'": "'one' is not a whole number",
    "UPDATE invocation SET content_type = x'00'": "is not text",
    "UPDATE invocation SET manifest = x'90'": "it has no records",
    "UPDATE invocation SET manifest = x'01'": "A row of invocation is damaged",
    "UPDATE invocation SET manifest = 'text'": "its manifest is not bytes",
    # Records
    "UPDATE invocation SET manifest = (SELECT manifest FROM invocation LIMIT 1)": "twice, in the",
    "UPDATE stream SET mark = 30, line = 3 WHERE id = 2": "0 of b.jsonl is settled and outstanding",
    "INSERT INTO settled_range VALUES (1, 90, 91, 1)": "90 of a.jsonl is settled and outstanding",
    "UPDATE settled_range SET start = 29 WHERE start = 30 AND stream = 1": "20 of a.jsonl is settl",
    "UPDATE settled_message SET name = 'm1' WHERE name = 'm30'": "The message m1 of https://sqs/0/in",
    "UPDATE settled_message SET settled_at = 'then'": "A row of settled_message is damaged",
    # Files
    "UPDATE sink SET tail_length = position + 1": "A row of sink is damaged",
    "UPDATE sink SET tail_crc = tail_crc - 1": "differs from what was written before byte",
    "UPDATE sink SET position = position + 1": "bytes, of which",
    "UPDATE tally SET records = records + 1": "lines for",
    "DELETE FROM tally": "lines for 0 settled records",
    "DELETE FROM sink": "has 0 lines for",
    # The schema
    "PRAGMA user_version = 99": "The ledger is of schema 99, which this version does not know",
    "DROP TABLE settled_message": "no such table: settled_message",
}


@pytest.mark.parametrize("change", DAMAGES)
def test_damage_in_the_tables_is_found(folder: Path, change: str) -> None:
    with closing(sqlite3.connect(folder / "ledger.db")) as db, db:
        db.execute(change)
    damages = [finding for finding in check(folder) if finding.is_damage]
    assert any(DAMAGES[change] in finding.what for finding in damages), damages
    for finding in damages:
        assert finding.what.endswith(".")
        assert finding.remedy.endswith(".")
        assert "\n" not in finding.what + finding.remedy


def test_a_damaged_page_is_found(folder: Path) -> None:
    path = folder / "ledger.db"
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    path.write_bytes(data)
    findings = check(folder)
    assert "The database is broken" in findings[0].what
    assert "The database is broken: invocations cannot be read" in " ".join(
        f.what for f in findings
    )
    assert not any("\n" in finding.what for finding in findings)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"k", b"q"))


def lose_a_line(path: Path) -> None:
    """Lose a line before the bytes that are compared."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0][:-1] + b" ", *lines[1:]]))


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", ["results.jsonl", "dead.jsonl"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (cut, "bytes, of which"),
        (edit, "differs from what was written before byte"),
        (lose_a_line, "differs from what was written before byte"),
        (Path.unlink, "is missing, and"),
        (become_a_folder, "cannot be read: Is a directory"),
    ],
)
def test_damage_to_a_file_is_found(
    folder: Path, name: str, change: Callable[[Path], object], expected: str
) -> None:
    change(folder / name)
    what = [finding.what for finding in check(folder) if finding.is_damage]
    assert any(expected in sentence and name in sentence for sentence in what), what


async def test_lines_lost_long_before_the_end_are_counted(tmp_path: Path) -> None:
    async def many(run: Run) -> None:
        for n in range(30):
            await run.settle(await run.plan(20 * n, 20, "a.jsonl"))

    await keep(tmp_path, many)
    assert check(tmp_path) == []
    lose_a_line(tmp_path / "results.jsonl")
    (finding,) = check(tmp_path)
    assert finding.what.endswith("results.jsonl has 599 lines for 600 settled records.")


# What the next run repairs


def test_the_last_words_of_an_interrupted_run_are_only_noted(folder: Path) -> None:
    with (folder / "results.jsonl").open("a") as file:
        file.write('{"key": "half')
    (finding,) = check(folder)
    assert not finding.is_damage
    assert "13 bytes after byte" in finding.what


def test_lost_payloads_are_only_noted(folder: Path) -> None:
    (segment,) = (folder / "ledger.db.spool").iterdir()
    data = bytearray(segment.read_bytes())
    data[0] ^= 1
    segment.write_bytes(data[:-5])
    (folder / "ledger.db.spool" / "notes.txt").touch()
    findings = check(folder)
    assert not any(finding.is_damage for finding in findings)
    found = [finding.what.split(" ", 3)[-1] for finding in findings]
    assert found.count("is damaged in the spool.") == 0
    assert sum("is damaged in the spool" in f.what for f in findings) == 1
    assert sum("a file notes.txt" in f.what for f in findings) == 1
    shutil.rmtree(folder / "ledger.db.spool")
    assert [f.what.split(" is ")[1] for f in check(folder)] == ["missing in the spool."] * 15


def test_an_older_ledger_is_brought_up_by_its_run(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ledger.db")) as db, db:
        db.execute("PRAGMA user_version = 1")
    (finding,) = check(folder)
    assert not finding.is_damage
    assert finding.what == "The ledger is of schema 1, not 3."


def test_results_of_a_queue_are_not_looked_for(folder: Path) -> None:
    snapshot = read_snapshot(folder / "ledger.db")
    snapshot.sinks, snapshot.files = [], {}
    assert verify(snapshot, results=None, dead_letters=None) == []


def test_a_run_that_was_forced_to_other_files_has_its_lines_in_all_of_them(folder: Path) -> None:
    snapshot = read_snapshot(folder / "ledger.db")
    assert verify(snapshot, results="new.jsonl", dead_letters="other.jsonl") == []
    snapshot.tallies = [row for row in snapshot.tallies if row[0] != "completed"]
    (finding,) = verify(snapshot, results="new.jsonl", dead_letters="other.jsonl")
    assert "results.jsonl has" in finding.what
