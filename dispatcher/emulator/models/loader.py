"""Loading of the model that ``emulator.model`` names."""

import importlib
import inspect
import os
import sys
from typing import cast

from dispatcher.emulator.models.model import Predict, echo
from dispatcher.emulator.models.text_stats import text_stats
from dispatcher.errors import ConfigError


def load_model(name: str) -> Predict:
    """Return the callable that ``emulator.model`` names.

    Args:
        name: ``echo``, ``text-stats`` or ``package.module:function``; modules are also looked for
            in the current working directory.

    Raises:
        ConfigError: There is no such module or attribute, it cannot be imported, or it is not a
            callable with one argument.
    """
    if name == "echo":
        return echo
    if name == "text-stats":
        return text_stats
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigError(
            f"emulator.model is {name!r}: write echo, text-stats, or package.module:function."
        )
    folder = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if folder not in sys.path:
        # It stays: the model may import its neighbours when it is first called.
        sys.path.append(folder)
    try:
        loaded: object = importlib.import_module(module_name)
    except Exception as error:
        # Importing runs code of the user, which can fail in any way.
        raise ConfigError(
            f"emulator.model: cannot import module {module_name!r} "
            f"({type(error).__name__}: {error}). It is looked for in the installed packages and "
            f"in {folder}; start from the folder that holds it, or install it."
        ) from error
    for part in attribute.split("."):
        loaded = getattr(loaded, part, None)
    if not callable(loaded):
        raise ConfigError(
            f"emulator.model: module {module_name!r} has no function {attribute!r}. "
            "Define it as `def predict(request: ModelRequest) -> bytes | ModelResponse`."
        )
    try:
        inspect.signature(loaded).bind(None)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"emulator.model: {name} must take one argument, the ModelRequest ({error})."
        ) from error
    return cast("Predict", loaded)
