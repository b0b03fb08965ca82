"""The model behind an emulated endpoint: what a callable gets, returns and raises; its speed."""

import importlib
import inspect
import math
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias, cast

from dispatcher.config.settings import ServiceTime
from dispatcher.errors import ConfigError

_Z99 = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""


@dataclass(slots=True, frozen=True)
class ModelRequest:
    """What the container gets.

    Attributes:
        body: The payload, inline or from S3.
        content_type: ContentType of the request, or None where none was sent.
        accept: Accept of the request, or None.
        custom_attributes: CustomAttributes of the request, or None.
        inference_id: The invocation's id.
        endpoint: The endpoint's name.
    """

    body: bytes
    content_type: str | None
    accept: str | None
    custom_attributes: str | None
    inference_id: str
    endpoint: str


@dataclass(slots=True, frozen=True)
class ModelResponse:
    """What the container answers.

    Attributes:
        body: Becomes the output object as it is.
        content_type: MIME type of the output object and in the event.
    """

    body: bytes
    content_type: str = "application/json"


class ModelError(Exception):
    """Raise in a model to answer with an HTTP error.

    Args:
        status: 400..599.
        message: Becomes the failure object.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


Result: TypeAlias = bytes | ModelResponse
Predict: TypeAlias = Callable[[ModelRequest], Result | Awaitable[Result]]
"""``def predict(request: ModelRequest) -> bytes | ModelResponse``, or the same with ``async``.

Bytes alone go back with the request's own Accept, else with ``application/json``. A plain function
runs in a thread of its own, up to ``instances`` at once; an async one runs in the event loop.
"""


def echo(request: ModelRequest) -> ModelResponse:
    """Return the body with its content type."""
    return ModelResponse(request.body, request.content_type or "application/octet-stream")


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
        from dispatcher.emulator.models.text_stats import text_stats  # noqa: PLC0415 - imports this module

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
        found: object = importlib.import_module(module_name)
    except Exception as error:
        # Importing runs code of the user, which can fail in any way.
        raise ConfigError(
            f"emulator.model: cannot import module {module_name!r} "
            f"({type(error).__name__}: {error}). It is looked for in the installed packages and "
            f"in {folder}; start from the folder that holds it, or install it."
        ) from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ConfigError(
            f"emulator.model: module {module_name!r} has no function {attribute!r}. "
            "Define it as `def predict(request: ModelRequest) -> bytes | ModelResponse`."
        )
    try:
        inspect.signature(found).bind(None)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"emulator.model: {name} must take one argument, the ModelRequest ({error})."
        ) from error
    return cast("Predict", found)


class ServiceTimes:
    """Draws log-normal times through the configured median and 99th percentile.

    Args:
        settings: The two quantiles, in seconds.
        random: Source of randomness; equal seeds draw equal times.
    """

    def __init__(self, settings: ServiceTime, random: Random) -> None:
        self._median = settings.median
        self._random = random
        self._sigma = 0.0
        if settings.p99 is not None and settings.median > 0:
            self._sigma = math.log(settings.p99 / settings.median) / _Z99

    def draw(self) -> float:
        """Return the time of one inference in seconds."""
        if not self._sigma:
            return self._median
        return self._median * math.exp(self._sigma * self._random.gauss(0.0, 1.0))
