"""What happens to the files of a run between two of its processes."""

import shutil

import pytest

from tests.faults.conftest import Bench


def test_a_killed_run_goes_on_by_the_same_command_line(bench: Bench) -> None:
    bench.kill_after(lines=50)
    code, said = bench.run()
    assert code == 0, said
    assert bench.wrong() == []
    assert "read 400 = completed 400 + dead 0" in said


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
    assert "the input changed since the run began" in " ".join(said.split())


def test_results_that_grew_are_cut_back(bench: Bench) -> None:
    bench.kill_after(lines=50)
    with (bench.folder / "results.jsonl").open("a") as file:
        file.write('{"key": "half a li')
    code, said = bench.run()
    assert code == 0, said
    assert bench.wrong() == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [("shrink", "shorter"), ("vanish", "missing"), ("replace", "belongs to another run")],
)
def test_results_that_are_not_what_the_ledger_knows_are_refused(
    bench: Bench, damage: str, told: str
) -> None:
    bench.kill_after(lines=200)
    results = bench.folder / "results.jsonl"
    data = results.read_bytes()
    if damage == "shrink":
        results.write_bytes(data[:1000])
    elif damage == "vanish":
        results.unlink()
    else:
        results.write_bytes(b"x" * len(data))
    code, said = bench.run()
    assert code == 3, said
    results.write_bytes(data)  # put back what was there: nothing was lost
    code, again = bench.run()
    assert code == 0, again
    assert bench.wrong() == []
    assert told in " ".join(said.split())


def test_a_damaged_ledger_is_refused_with_what_to_do(bench: Bench) -> None:
    bench.kill_after(lines=50)
    for path in (bench.folder / "state").glob("ledger.db*"):
        if path.is_file():
            path.write_bytes(b"not a database at all" * 1000)
    code, said = bench.run()
    assert code == 3
    assert "ledger.path" in said


def test_two_runs_on_one_ledger_are_refused(bench: Bench) -> None:
    first = bench.start("--progress", "none")
    results = bench.folder / "results.jsonl"
    while not results.exists():
        assert first.poll() is None
    code, said = bench.run()
    _, ending = first.communicate(timeout=50)
    assert code == 3
    assert f"in use by process {first.pid}" in " ".join(said.split())
    assert first.returncode == 0, ending
    assert bench.wrong() == []
