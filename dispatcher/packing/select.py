"""Reshaping with JMESPath: what is sent of a record, and what is written of a result."""

from collections.abc import Callable
from functools import cache

import jmespath
from jmespath.visitor import TreeInterpreter


class SelectError(ValueError):
    """An expression that fails on a value; ``str()`` says why."""


def select(expression: str, value: object) -> object:
    """Return what an expression makes of a value; a field that is missing is null.

    Args:
        expression: JMESPath, checked with the configuration.
        value: Of JSON.

    Raises:
        SelectError: It fails on this value.
    """
    try:
        return _compiled(expression)(value)
    except Exception as error:
        # Functions of the library raise whatever Python does with the value.
        raise SelectError(f"{expression!r} fails: {str(error) or type(error).__name__}") from error


@cache
def _compiled(expression: str) -> Callable[[object], object]:
    # One interpreter for all values: `search` would make a new one for each.
    parsed, interpreter = jmespath.compile(expression).parsed, TreeInterpreter()
    return lambda value: interpreter.visit(parsed, value)
