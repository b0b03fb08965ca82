"""Durations and sizes are read as people write them; anything else is refused with an example."""

import pytest

from dispatcher.config.units import parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("1h30m", 5400),
        ("1.5m", 90),
        (" 2d ", 172_800),
        (7, 7),
        (0.5, 0.5),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize("value", ["soon", "30", "-1s", "1h 30m", "", -1, True, None, []])
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; write it like 250ms, 30s"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("500B", 500),
        ("128kB", 128_000),
        ("1.5MB", 1_500_000),
        ("64MiB", 67_108_864),
        ("1 gib", 2**30),
        (9, 9),
    ],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["12 apples", "1", "0.5B", "-1kB", "", -1, 1.0, True, None])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size; write it like 500B, 128kB"):
        parse_size(value)
