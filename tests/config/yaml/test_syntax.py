"""A syntax error of the YAML parser becomes a line and a remedy."""

import pytest

from dispatcher.config.yaml.document import read_document


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {b: ${X}}", 'f.yaml:1: put the value with ${...} in quotes here, as in "${NAME}"'),
        (
            "a: 1\n b: 2",
            (
                "f.yaml:2: a colon stands where none may be; put a value with a colon and a blank "
                "in quotes, and begin the keys of a section in the same column"
            ),
        ),
        ("a:\n\tb: 1", "f.yaml:2: a tab is used for indentation; use spaces"),
        ("x: 1\na: [1,\n  2", "f.yaml:2: a quote or bracket is opened here and never closed"),
        ("x: 1\na: 'x\nb: 1\n", "f.yaml:2: a quote or bracket is opened here and never closed"),
        ("endpoint\nb: 1", 'f.yaml:1: "endpoint" is not followed by a colon; write key: value'),
        ("a: 1\nb\n", "f.yaml:2: a key is not followed by a colon and a blank; write key: value"),
        (
            "a: 1\n---\nb: 1",
            "f.yaml:2: there is a second document (---); a configuration is one document",
        ),
        (
            "x: 1\na: b\x00",
            "f.yaml:2: there is a control character that YAML does not allow; is this a text file?",
        ),
        (
            "a: @b",
            (
                "f.yaml:1: put the value in quotes here; YAML does not let it begin like this "
                "(found character '@' that cannot start any token)"
            ),
        ),
        (
            "a: -",
            'f.yaml:1: put a dash that is a value in quotes ("-"), and begin a list on',
        ),
    ],
)
def test_a_syntax_error_has_a_remedy(text: str, expected: str) -> None:
    problems = read_document(text, "f.yaml", {}).problems
    assert [str(problem)[: len(expected)] for problem in problems] == [expected]
