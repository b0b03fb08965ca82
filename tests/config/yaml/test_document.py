"""YAML is read with YAML 1.2's types, and remembers its lines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.yaml.document import read_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("010", 10),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".", "."),
        ("!!str 5", "5"),
        ("[a, {b: 1}]", ["a", {"b": 1}]),
        ("${N:-5}", 5),
        ("'${N:-5}'", "5"),
        ("${N:-}", None),
        ('"${N:-}"', None),
        ("x${SET}y", "x7y"),
        ("${SET}", 7),
        ("$${SET}", "${SET}"),
        ("$SET", "$SET"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    document = read_document(f"key: {text}\n", "f.yaml", {"SET": "7"})
    assert document.problems == []
    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x [*x]", "f.yaml:1: an alias (*) contains itself"),
        ("? [1]\n: 2", "f.yaml:1: a key must be a plain name"),
        ("a: !foo 1", 'f.yaml:1: "1" does not fit its tag !foo'),
        ("a: !!int x", 'f.yaml:1: "x" does not fit its tag !!int'),
        ("a: ${}", "f.yaml:1: ${} names no environment variable"),
        ("a: '${X'", "f.yaml:1: ${X opens a ${ that is not closed"),
    ],
)
def test_what_is_not_a_document(text: str, expected: str) -> None:
    problems = read_document(text, "f.yaml", {}).problems
    assert [str(problem)[: len(expected)] for problem in problems] == [expected]


def test_aliases_of_aliases_end() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    [problem] = read_document("\n".join(rows), "f.yaml", {}).problems
    assert str(problem) == "f.yaml: it holds more values than a configuration can have"


def test_endless_nesting_ends() -> None:
    [problem] = read_document("[" * 1000, "f.yaml", {}).problems
    assert str(problem) == "f.yaml: it holds more values than a configuration can have"


def test_a_variable_is_not_interpolated_again() -> None:
    document = read_document("a: ${A}", "f.yaml", {"A": "${B}", "B": "b"})
    assert document.value == {"a": "${B}"}


def test_values_know_their_lines() -> None:
    document = read_document("a:\n  b: 1\n  c:\n    - x\n    - y\n", "f.yaml", {})
    assert document.origin(("a", "b")).place == "f.yaml:2"
    assert document.origin(("a", "c", 1)).place == "f.yaml:5"
    assert document.origin(("a", "unknown", "deep")).place == "f.yaml:1"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    document = read_document(text, "f.yaml", {})
    assert all(str(problem).startswith("f.yaml") for problem in document.problems)


@given(st.text(alphabet="a: ${}-[]'\"\n\t&*!|>?,#", max_size=60))
def test_any_punctuation_is_read_or_refused(text: str) -> None:
    document = read_document(text, "f.yaml", {"a": "b"})
    assert all(str(problem).startswith("f.yaml") for problem in document.problems)
