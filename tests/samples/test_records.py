"""The records are repeatable, of the sizes that were asked for, and valid."""

import json
from pathlib import Path

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import limits
from dispatcher.samples.records import lines, main


@given(
    count=st.integers(0, 30),
    smallest=st.integers(64, 500),
    factor=st.floats(1, 20),
    seed=st.integers(0, 2**32),
)
def test_every_line_is_a_record_of_a_size_in_range(
    count: int, smallest: int, factor: float, seed: int
) -> None:
    largest = int(smallest * factor)
    made = list(lines(count, smallest, largest, seed))
    assert len(made) == count
    for number, line in enumerate(made, 1):
        assert smallest <= len(line) <= largest
        record = json.loads(line)
        assert record["id"] == f"r{number:06}"
        assert set(record) == {"id", "text"}


def test_the_same_seed_makes_the_same_file_and_another_another(tmp_path: Path) -> None:
    made = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = tmp_path / "new" / name
        arguments = ["--count", "50", "--max-bytes", "2000", "--out", str(out), "--seed", str(seed)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        made.append(out.read_bytes())
    assert made[0] == made[1] != made[2]
    assert made[0].count(b"\n") == 50
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a", "b", "c"]


def test_the_quick_start_has_records_for_both_routes() -> None:
    made = [len(line) for line in lines(2_000, 100, 600_000, 1)]
    assert min(made) == 100
    assert max(made) == 600_000
    too_large = sum(size > limits.INLINE_BODY_BYTES for size in made)
    assert 200 < too_large < 600


def test_sizes_the_wrong_way_round_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "r"
    arguments = ["--min-bytes", "200", "--max-bytes", "100", "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "--min-bytes must not be above --max-bytes" in result.output
    assert not out.exists()
