"""Killed in the middle of every kind of input, and gone on with by the same command line."""

import base64
import gzip
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

from tests.faults import crash
from tests.faults.conftest import RECORDS, MakeBench

# Far fewer than there are records: a kill finds the reader in the middle.
IN_THE_MIDDLE = {"outstanding": 50}
THIRDS = range(0, RECORDS, RECORDS // 3)


def test_killed_in_the_middle_of_each_of_several_files(make_bench: MakeBench) -> None:
    bench = make_bench(limits=IN_THE_MIDDLE)
    lines = (bench.folder / "in.jsonl").read_bytes().splitlines(keepends=True)
    first, second, third = (b"".join(lines[i : i + RECORDS // 3]) for i in THIRDS)
    half = len(first) // 2
    # Two members, as appending makes them.
    (bench.folder / "part-1.gz").write_bytes(
        gzip.compress(first[:half]) + gzip.compress(first[half:])
    )
    (bench.folder / "part-2.zst").write_bytes(zstandard.compress(second))
    (bench.folder / "part-3.jsonl").write_bytes(third)
    arguments = ("--set", f"source.path={bench.folder / 'part-*'}")
    for begun in THIRDS:
        bench.kill_after(begun + 20, *arguments)
        assert crash.lines_of(bench.folder) < RECORDS
    code, said = bench.run(*arguments)
    assert code == 0, said
    assert bench.wrong() == []
    assert f"read {RECORDS} = completed {RECORDS} + dead 0" in said


@contextmanager
def piped(source: Path) -> Iterator[int]:
    with subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        yield cat.stdout.fileno()


def test_a_pipe_that_brings_the_same_again(make_bench: MakeBench) -> None:
    bench = make_bench(limits=IN_THE_MIDDLE)
    source = bench.folder / "in.jsonl"
    with piped(source) as stdin:
        bench.kill_after(100, "--set", "source.path=-", stdin=stdin)
    assert crash.lines_of(bench.folder) < RECORDS
    with piped(source) as stdin:
        code, said = bench.run("--set", "source.path=-", stdin=stdin)
    assert code == 0, said
    assert bench.wrong() == []
    assert f"read {RECORDS} = completed {RECORDS} + dead 0" in said


def test_packed_records_between_unreadable_lines(make_bench: MakeBench) -> None:
    bench = make_bench(
        service_time="400ms",
        limits={"outstanding": 12},
        packing={"framing": "lines", "max_records": 7},
    )
    source = bench.folder / "in.jsonl"
    broken = []
    with source.open() as lines:
        text = ""
        for number, line in enumerate(lines):
            text += line
            if number % 10 == 5:
                broken.append(f"{{broken {number}")
                text += broken[-1] + "\n"
    source.write_text(text)
    bench.kill_after(100)
    assert crash.lines_of(bench.folder) < RECORDS
    code, said = bench.run()
    assert code == 2, said
    assert crash.wrong_results(bench.folder, bench.texts) == []
    dead = [json.loads(line) for line in (bench.folder / "dead.jsonl").read_text().splitlines()]
    read = sorted(base64.b64decode(line["input"]["base64"]).decode() for line in dead)
    assert read == sorted(broken)
    assert {line["reason"] for line in dead} == {"bad_json"}
    assert f"read {RECORDS + len(broken)} = completed {RECORDS} + dead {len(broken)}" in said
