"""Numbers are written for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.observe import number_format


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (128_000, "128.0 kB"),
        (999_949, "999.9 kB"),
        (999_999, "1.0 MB"),
        (40_230_000, "40.2 MB"),
        (1.5e12, "1.5 TB"),
    ],
)
def test_sizes(number: float, text: str) -> None:
    assert number_format.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (83, "1m23s"),
        (3599.7, "1h00m"),
        (7500, "2h05m"),
        (86_400, "1d00h"),
        (273_600, "3d04h"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert number_format.span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00085, "850 us"),
        (0.0009999, "1 ms"),
        (0.0123, "12.3 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.239, "1.24 s"),
        (59.96, "1m00s"),
    ],
)
def test_latencies(seconds: float, text: str) -> None:
    assert number_format.latency(seconds) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0, "0.0/s"), (0.2, "12.0/min"), (3.41, "3.4/s"), (9.96, "10/s"), (81_234, "81,234/s")],
)
def test_rates(per_second: float, text: str) -> None:
    assert number_format.rate(per_second) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.0001, "<1%"), (0.41, "41%"), (0.9999, ">99%"), (1, "100%")],
)
def test_percentages_say_all_and_nothing_only_where_it_is_so(share: float, text: str) -> None:
    assert number_format.percent(share) == text


@given(st.floats(0, 1e15))
def test_a_size_is_short(number: float) -> None:
    assert len(number_format.size(number)) <= 11


def test_columns_are_aligned() -> None:
    assert number_format.columns([["a", "1"], ["bcd", "22"]]) == ["a     1", "bcd  22"]
    assert number_format.columns([["a", "x"], ["bcd", "yz"]], left=2) == ["a    x", "bcd  yz"]
