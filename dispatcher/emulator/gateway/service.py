"""Contract between the gateway and the services behind it."""

from typing import Protocol

from dispatcher.emulator.auth.refusals import SignatureRefusals
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.message import HttpRequest, HttpResponse, Refusal, ServiceResponse


class Service(Protocol):
    """One AWS service."""

    request_id_header: str
    """The header in which the service names a request."""

    missing_signature: Refusal
    """The refusal of a request without a well-formed signature."""

    access_denied: Refusal
    """The refusal of a caller who may do nothing."""

    malformed_body: str
    """The error code of a body whose aws-chunked framing is wrong."""

    @property
    def signature_refusals(self) -> SignatureRefusals:
        """The refusals of invalid signatures."""

    def read_call(self, request: HttpRequest) -> Call:
        """Return the call that a request makes; one that makes no sense has empty names."""

    def answer(self, request: HttpRequest) -> ServiceResponse:
        """Answer a signed request; raises Refusal."""

    def refuse(self, request: HttpRequest, refusal: Refusal) -> HttpResponse:
        """Put a refusal into this service's shape."""
