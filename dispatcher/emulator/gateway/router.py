"""Router: sends each request to its service and puts refusals into that service's shape."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import count
from uuid import uuid4

from dispatcher.emulator.auth.caller import (
    DENIED_KEY,
    CallerIdentity,
    is_signed_body,
    meant_service,
    read_caller,
    sha256_of,
)
from dispatcher.emulator.auth.verification import Account, verify
from dispatcher.emulator.clock import Clock
from dispatcher.emulator.gateway.fault_types import NO_CALL_FAULT, CallFault, CallFaults
from dispatcher.emulator.gateway.service import Service
from dispatcher.emulator.http.blob import SPOOL_BYTES
from dispatcher.emulator.http.message import (
    HttpRequest,
    HttpResponse,
    Refusal,
    Reply,
    Reset,
)

_log = logging.getLogger(__name__)


class Router:
    """The handler of the HTTP server.

    Args:
        services: By the name that signatures carry.
        clock: Time.
        faults: Source of the faults of calls.
        account: The account whose signatures are valid; None: every well-formed one is.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        clock: Clock,
        *,
        faults: CallFaults,
        account: Account | None = None,
    ) -> None:
        self._services = services
        self._clock = clock
        self._faults = faults
        self._account = account
        # Shaped like a UUID, made without the cost of one.
        self._id_prefix = str(uuid4())[:24]
        self._ids = count(1)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[Reply]:
        """Answer any request; never raises."""
        caller = read_caller(request)
        name = self._service_name(request, caller)
        service = self._services.get(name)
        if service is None:
            return HttpResponse(404, {"Content-Type": "text/plain"}, _unknown(name))
        if caller is None:
            return self._name(service, service.refuse(request, service.missing_signature))
        if caller.key == DENIED_KEY:
            return self._name(service, service.refuse(request, service.access_denied))
        try:
            response = self._checked(name, service, request, caller)
        except Exception as error:
            return self._name(service, self._refuse(service, request, error))
        if isinstance(response, HttpResponse):
            return self._name(service, response)
        return self._later(service, request, response)

    def _service_name(self, request: HttpRequest, caller: CallerIdentity | None) -> str:
        """Return the name of the service that a request is for.

        The real services know it by the host, which is one for all here. So the signature names it,
        unless signatures are verified: then the choice must not depend on them.
        """
        if caller is None:
            return meant_service(request) or "s3"
        if self._account is None:
            return caller.service
        return meant_service(request) or caller.service

    def _checked(
        self, name: str, service: Service, request: HttpRequest, caller: CallerIdentity
    ) -> HttpResponse | Awaitable[Reply]:
        """Answer a request if its body is whole and it is signed."""
        if request.fault:
            text = f"The body is malformed: {request.fault}."
            raise Refusal(400, service.malformed_body, text)
        if self._account is None:
            # Bodies for S3 come with their own checksums.
            if name != "s3" and not is_signed_body(request):
                raise service.signature_refusals.wrong_signature()
            return self._answer(service, request)
        verified = partial(
            verify,
            request,
            caller,
            self._account,
            service=name,
            refusals=service.signature_refusals,
        )
        if request.body.size > SPOOL_BYTES:
            return self._hashed_later(service, request, verified)
        verified(now=self._clock.now(), body_sha256=sha256_of(request.body))
        return self._answer(service, request)

    async def _hashed_later(
        self, service: Service, request: HttpRequest, verified: Callable[..., None]
    ) -> Reply:
        """Answer a request whose body takes long to hash."""
        digest = await asyncio.to_thread(sha256_of, request.body)
        verified(now=self._clock.now(), body_sha256=digest)
        response = self._answer(service, request)
        return response if isinstance(response, HttpResponse) else await response

    def _answer(self, service: Service, request: HttpRequest) -> HttpResponse | Awaitable[Reply]:
        """Answer a request, with a fault where one strikes."""
        if not self._faults.armed:
            return service.answer(request)
        fault = self._faults.call(service.read_call(request))
        if fault is NO_CALL_FAULT:
            return service.answer(request)
        return self._answer_with_fault(service, request, fault)

    async def _answer_with_fault(
        self, service: Service, request: HttpRequest, fault: CallFault
    ) -> Reply:
        reply: Reply = Reset()
        if fault.refusal is not None:
            reply = service.refuse(request, fault.refusal)
        elif fault.reset != "before":
            try:
                response = service.answer(request)
                done = response if isinstance(response, HttpResponse) else await response
            except Refusal as refusal:
                done = service.refuse(request, refusal)
            reply = done if fault.reset is None else reply
        if fault.delay:
            await self._clock.sleep(fault.delay)
        return reply

    async def _later(
        self, service: Service, request: HttpRequest, pending: Awaitable[Reply]
    ) -> Reply:
        response: Reply
        try:
            response = await pending
        except Exception as error:
            response = self._refuse(service, request, error)
        return self._name(service, response) if isinstance(response, HttpResponse) else response

    def _refuse(self, service: Service, request: HttpRequest, error: Exception) -> HttpResponse:
        if not isinstance(error, Refusal):
            # A bug of the emulator must look like a failure of the service, and be logged.
            _log.error("the emulator failed on %s", request.raw_path, exc_info=error)
            error = Refusal(500, "InternalFailure", f"emulator: {type(error).__name__}")
        return service.refuse(request, error)

    def _name(self, service: Service, response: HttpResponse) -> HttpResponse:
        response.headers[service.request_id_header] = f"{self._id_prefix}{next(self._ids):012x}"
        return response


def _unknown(name: str) -> bytes:
    return f"The emulator has no service {name!r}.\n".encode()
