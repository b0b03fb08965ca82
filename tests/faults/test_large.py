"""A large record is never in memory, bounded: ``python -m tests.faults.large`` is the long one."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import RECORDS, MakeBench


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "options",
    [
        ["--megabytes", "100", "--source", "jsonl", "--join", "both"],
        ["--megabytes", "30", "--source", "files", "--join", "input", "--kill"],
        ["--megabytes", "20", "--source", "stdin", "--encoding", "json+zstd"],
    ],
    ids=lambda options: options[3],
)
def test_a_large_record_is_delivered_and_never_held(options: list[str]) -> None:
    # What the process takes anyway, and less than the largest of these records more.
    watched = subprocess.run(
        [sys.executable, "-m", "tests.faults.large", *options, "--most", "250"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert watched.returncode == 0, watched.stdout


def test_files_are_gone_on_with_after_a_kill_and_each_has_one_line(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    content = {str(folder / f"{n:03d}"): b"\xff%d" % n for n in range(RECORDS)}
    for name, raw in content.items():
        Path(name).write_bytes(raw)
    bench = make_bench(
        source={"type": "files", "path": f"{folder}/*", "key": None},
        packing={"encodings": ["raw"]},
    )
    bench.kill_after(20)
    (folder / "0000-added-later").write_bytes(b"none of this run's")
    bench.kill_after(100)
    code, said = bench.run()
    assert code == 0, said
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_bytes().splitlines()]
    found = {line["key"]: base64.b64decode(line["output"]["base64"]) for line in lines}
    assert found == content
    assert len(lines) == len(content)
