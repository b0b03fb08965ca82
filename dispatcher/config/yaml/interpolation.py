"""``${VAR}`` and ``${VAR:-default}`` in the values of a configuration."""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<body>[^{}]*)\}|\$\{")
_BODY = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-(?P<default>.*))?", re.DOTALL)


class InterpolationError(ValueError):
    """A reference cannot be replaced; the message is a sentence without a place."""


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """Replace the references to environment variables in one value.

    ``${VAR}`` needs the variable, ``${VAR:-default}`` takes the default where the variable is
    unset or empty, as a shell does. ``$${`` stands for a literal ``${``. The value of a
    variable is not searched for further references.

    Args:
        text: The value as written.
        environ: The environment variables.

    Raises:
        InterpolationError: A variable without default is not set, or a reference is not closed or
            holds no name.
    """

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match["body"] is None:
            raise InterpolationError(
                f"{shorten(text)} opens a ${{ that is not closed; write ${{NAME}}, "
                "${NAME:-default}, or $${ for the characters themselves"
            )
        body = _BODY.fullmatch(match["body"])
        if body is None:
            raise InterpolationError(
                f"{match[0]} names no environment variable; write ${{NAME}}, ${{NAME:-default}}, "
                "or $${ for the characters themselves"
            )
        value = environ.get(body["name"])
        if body["fallback"] is not None:
            return value or body["default"]
        if value is None:
            raise InterpolationError(
                f"the environment variable {body['name']} is not set; set it, or give a default "
                f"with ${{{body['name']}:-default}}"
            )
        return value

    return _REFERENCE.sub(replace, text)


def shorten(text: str, width: int = 60) -> str:
    """Return a value on one line, cut to ``width`` characters, to quote it in a message."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3] + "..."
