"""The part of the input that was read, and the size of the rest."""

from dispatcher.plan.extent import Extent, InputProgress
from dispatcher.records.record import Item
from tests.plan.plans import LINES, records


def followed(
    batches: list[tuple[list[Item], int]], sample: int, *, expected: int | None, ended: bool
) -> Extent:
    measure, left = InputProgress(), sample
    for items, disk in batches:
        measure.follow(items, disk)
        if left:
            measure.plan(items[min(left, len(items)) - 1])
            left -= min(left, len(items))
    return measure.extent(ended=ended, expected=expected)


def test_what_was_read_to_the_end_is_complete() -> None:
    assert followed([(LINES, 4_000)], 40, expected=4_000, ended=True) == Extent(True, 1.0)
    assert followed([(LINES, 4_000)], 10, expected=4_000, ended=True) == Extent(False, 4.0)


def test_a_sample_of_a_plain_file_is_exact() -> None:
    # The block ended within a line, so that more was read than handed out.
    batches = [(LINES[:10], 2_050), (LINES[10:20], 2_050), (LINES[20:30], 3_000)]
    assert followed(batches, 5, expected=400_000, ended=False) == Extent(False, 800.0)


def test_a_sample_of_a_compressed_file_goes_by_what_its_content_takes() -> None:
    # 2,000 bytes of content took 500 on disk: ten records took 250.
    batches = [(LINES[:20], 500), (LINES[20:30], 900)]
    assert followed(batches, 10, expected=25_000, ended=False) == Extent(False, 100.0)


def test_a_sample_over_several_files_adds_them_up() -> None:
    other = records([b'"%b"' % (b"x" * 97)] * 10, "other.jsonl")
    batches = [(LINES, 4_000), (other, 5_000)]
    assert followed(batches, 45, expected=9_000, ended=False) == Extent(False, 2.0)


def test_a_pipe_has_no_size() -> None:
    assert followed([(LINES, 4_000)], 40, expected=None, ended=False) == Extent(False, None)
