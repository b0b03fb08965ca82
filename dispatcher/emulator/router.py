"""Sends each request to its service, and puts refusals into that service's shape."""

import logging
from collections.abc import Awaitable, Mapping
from itertools import count
from typing import Protocol
from uuid import uuid4

from dispatcher.emulator.auth import DENIED_KEY, guess_service, is_signed_body, read_caller
from dispatcher.emulator.http import Answer, Refusal, Request, Response

_log = logging.getLogger(__name__)


class Service(Protocol):
    """One AWS service."""

    request_id_header: str
    """The header in which the service names a request."""

    missing_signature: Refusal
    """The answer to a request without a well-formed signature."""

    access_denied: Refusal
    """The answer to a caller who may do nothing."""

    malformed_body: str
    """The error code of a body whose aws-chunked framing is wrong."""

    @property
    def wrong_signature(self) -> Refusal | None:
        """The answer to a body that is not the signed one; None where nobody compares."""

    def answer(self, request: Request) -> Answer:
        """Answer a signed request; raises Refusal."""

    def refuse(self, request: Request, refusal: Refusal) -> Response:
        """Put a refusal into this service's shape."""


class Router:
    """The handler of the HTTP server.

    Args:
        services: By the name that signatures carry.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services
        # Shaped like a UUID, made without the cost of one.
        self._id_prefix = str(uuid4())[:24]
        self._ids = count(1)

    def __call__(self, request: Request) -> Answer:
        """Answer any request; never raises."""
        caller = read_caller(request)
        name = guess_service(request) if caller is None else caller.service
        service = self._services.get(name)
        if service is None:
            return Response(404, {"Content-Type": "text/plain"}, _unknown(name))
        if caller is None:
            return self._name(service, service.refuse(request, service.missing_signature))
        if caller.key == DENIED_KEY:
            return self._name(service, service.refuse(request, service.access_denied))
        try:
            _check_body(service, request)
            answer = service.answer(request)
        except Exception as error:
            return self._name(service, self._refuse(service, request, error))
        if isinstance(answer, Response):
            return self._name(service, answer)
        return self._later(service, request, answer)

    async def _later(
        self, service: Service, request: Request, answer: Awaitable[Response]
    ) -> Response:
        try:
            response = await answer
        except Exception as error:
            response = self._refuse(service, request, error)
        return self._name(service, response)

    def _refuse(self, service: Service, request: Request, error: Exception) -> Response:
        if not isinstance(error, Refusal):
            # A fault of the emulator itself must look like one of the service, and be seen.
            _log.error("the emulator failed on %s", request.raw_path, exc_info=error)
            error = Refusal(500, "InternalFailure", f"emulator: {type(error).__name__}")
        return service.refuse(request, error)

    def _name(self, service: Service, response: Response) -> Response:
        response.headers[service.request_id_header] = f"{self._id_prefix}{next(self._ids):012x}"
        return response


def _check_body(service: Service, request: Request) -> None:
    if request.fault:
        text = f"The body is malformed: {request.fault}."
        raise Refusal(400, service.malformed_body, text)
    if service.wrong_signature is not None and not is_signed_body(request):
        raise service.wrong_signature


def _unknown(name: str) -> bytes:
    return f"The emulator has no service {name!r}.\n".encode()
