"""Files of a run that are damaged or lost between two of its processes."""

import shutil
import subprocess

from tests.faults.conftest import RECORDS, Bench


def test_payloads_lost_with_the_power_are_read_again_from_the_source(bench: Bench) -> None:
    """The spool is not synced: a power loss may leave the intents without their payloads."""
    bench.kill_after(lines=50)
    shutil.rmtree(bench.folder / "state" / "ledger.db.spool")
    code, said = bench.run()
    assert code == 0, said
    assert bench.wrong() == []


def test_a_source_that_changed_under_lost_payloads_is_refused(bench: Bench) -> None:
    bench.kill_after(lines=50)
    shutil.rmtree(bench.folder / "state" / "ledger.db.spool")
    source = bench.folder / "in.jsonl"
    text = source.read_text()
    source.write_text(text.replace('"text": "', '"text": "0')[: len(text)])
    code, said = bench.run()
    assert code == 3
    assert "changed since" in " ".join(said.split())


def test_results_that_grew_are_cut_back(bench: Bench) -> None:
    bench.kill_after(lines=50)
    with (bench.folder / "results.jsonl").open("a") as file:
        file.write('{"key": "half a li')
    code, said = bench.run()
    assert code == 0, said
    assert bench.wrong() == []
    assert f"read {RECORDS} = completed {RECORDS} + dead 0" in said


def test_results_that_are_not_what_the_ledger_knows_are_refused(bench: Bench) -> None:
    bench.kill_after(lines=150)
    results = bench.folder / "results.jsonl"
    data = results.read_bytes()
    for damaged, words in (
        (data[:1000], "shorter"),
        (None, "missing"),
        (b"x" * len(data), "belongs to another run"),
    ):
        if damaged is None:
            results.unlink()
        else:
            results.write_bytes(damaged)
        code, said = bench.run()
        assert code == 3, said
        assert words in " ".join(said.split())
    results.write_bytes(data)  # put back what was there: nothing was lost
    code, said = bench.run()
    assert code == 0, said
    assert bench.wrong() == []


def test_a_damaged_ledger_is_refused_with_what_to_do(bench: Bench) -> None:
    bench.kill_after(lines=50)
    for path in (bench.folder / "state").glob("ledger.db*"):
        if path.is_file():
            path.write_bytes(b"not a database at all" * 1000)
    code, said = bench.run()
    assert code == 3
    assert "ledger.path" in said


def test_two_runs_on_one_ledger_are_refused(bench: Bench) -> None:
    # The first one lives for as long as its pipe is open.
    piped = ("--set", "source.path=-")
    first = bench.start("--progress", "none", *piped, stdin=subprocess.PIPE)
    assert first.stdin is not None
    lines = (bench.folder / "in.jsonl").read_text()
    first.stdin.write(lines[: lines.index("\n") + 1])
    first.stdin.flush()
    bench.wait_for(first, lines=1)
    code, said = bench.run(*piped, stdin=subprocess.DEVNULL)
    assert code == 3
    assert f"in use by process {first.pid}" in " ".join(said.split())
    _, ending = first.communicate(lines[lines.index("\n") + 1 :], timeout=50)
    assert first.returncode == 0, ending
    assert bench.wrong() == []
