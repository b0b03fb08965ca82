"""References to variables are replaced as a shell does it."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.yaml.interpolation import InterpolationError, interpolate, shorten

NAMES = st.text(string.ascii_uppercase, min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"),
        ("${A}${A}", "11"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${B:-d}", "d"),
        ("${B:-}", ""),
        ("${B:-a:-b}", "a:-b"),
        ("${A:-d}", "1"),
        ("$${A}", "${A}"),
        ("$A $ $$", "$A $ $$"),
    ],
)
def test_references(text: str, value: str) -> None:
    assert interpolate(text, {"A": "1", "EMPTY": ""}) == value


@pytest.mark.parametrize("text", ["${B}", "${", "${A", "${}", "${A b}", "${1}", "${A-x}"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InterpolationError):
        interpolate(text, {"A": "1"})


@given(NAMES, st.text(max_size=20))
def test_a_value_is_taken_as_it_is(name: str, value: str) -> None:
    assert interpolate(f"<${{{name}}}>", {name: value}) == f"<{value}>"


@given(st.text(alphabet="ab ", max_size=30))
def test_text_without_references_stays(text: str) -> None:
    assert interpolate(text, {}) == text


@given(st.text(max_size=200))
def test_quoted_values_are_short_and_on_one_line(text: str) -> None:
    assert len(shorten(text)) <= 60
    assert "\n" not in shorten(text)
