"""The model behind an emulated endpoint: its request, response, error and service time."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from dispatcher.config.settings import ServiceTime

_Z99 = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""


@dataclass(slots=True, frozen=True, kw_only=True)
class ModelRequest:
    """One request to the container.

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
    """One response of the container.

    Attributes:
        body: Becomes the output object as it is.
        content_type: MIME type of the output object and in the event.
    """

    body: bytes
    content_type: str = "application/json"


class ModelError(Exception):
    """Error to raise in a model, which becomes an HTTP error.

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

Bytes alone go back with the request's Accept, else with ``application/json``. A plain function
runs in a thread of its own, up to ``instances`` at once; an async one runs in the event loop.
"""


def echo(request: ModelRequest) -> ModelResponse:
    """Return the body with its content type."""
    return ModelResponse(request.body, request.content_type or "application/octet-stream")


class ServiceTimes:
    """Draws log-normal times through the configured median and 99th percentile.

    Args:
        settings: The two quantiles, in seconds.
        rng: Source of random numbers; equal seeds draw equal times.
    """

    def __init__(self, settings: ServiceTime, rng: Random) -> None:
        self._median = settings.median
        self._rng = rng
        self._sigma = 0.0
        if settings.p99 is not None and settings.median > 0:
            self._sigma = math.log(settings.p99 / settings.median) / _Z99

    def draw(self) -> float:
        """Return the time of one inference in seconds."""
        if not self._sigma:
            return self._median
        return self._median * math.exp(self._sigma * self._rng.gauss(0.0, 1.0))
