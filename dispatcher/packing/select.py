"""JMESPath expressions that choose the part of a record to send, or of a result to write."""

from collections.abc import Callable
from functools import cache

import jmespath
from jmespath.visitor import TreeInterpreter


class SelectError(ValueError):
    """An expression that fails on a value; ``str()`` says why."""


def select(expression: str, value: object) -> object:
    """Return the result of an expression on a value; a missing field is null.

    Args:
        expression: JMESPath, checked with the configuration.
        value: Any JSON value.

    Raises:
        SelectError: The expression fails on this value.
    """
    try:
        return _compiled(expression)(value)
    except Exception as error:
        # Functions of the library raise any error that Python raises for the value.
        raise SelectError(f"{expression!r} fails: {str(error) or type(error).__name__}") from error


@cache
def _compiled(expression: str) -> Callable[[object], object]:
    # One interpreter for all values: `search` would make a new one for each.
    parsed, interpreter = jmespath.compile(expression).parsed, TreeInterpreter()
    return lambda value: interpreter.visit(parsed, value)
