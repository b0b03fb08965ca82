"""Sections refuse unknown keys and do not change; a problem begins with its place."""

import pytest
from pydantic import ValidationError

from dispatcher.config.section import Problem, Section, SourceLocation


class Example(Section):
    key: int = 1


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Example.model_validate({"kye": 2})


def test_values_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().key = 2  # type: ignore[misc]


def test_a_problem_begins_with_its_place() -> None:
    problem = Problem(SourceLocation(3, "w.yaml:3"), "it is wrong; correct it")
    assert str(problem) == "w.yaml:3: it is wrong; correct it"
