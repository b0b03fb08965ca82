"""Arguments and options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def config_argument(function: F) -> F:
    """Add CONFIG, the path of the configuration; ``load_config`` checks that it can be read."""
    return click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))(
        function
    )


def set_option(function: F) -> F:
    """Add ``--set``, which may be repeated."""
    return click.option(
        "--set",
        "overrides",
        metavar="KEY=VALUE",
        multiple=True,
        help="Override one key of the configuration, as in limits.outstanding=500. Repeatable.",
    )(function)
