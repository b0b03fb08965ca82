"""Fault points of SageMaker: a call, an invocation's turn, its output, and its event."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from dispatcher.emulator.gateway.fault_types import CallFaultPoints
from dispatcher.emulator.http.message import Refusal
from dispatcher.emulator.models.model import ModelResponse
from dispatcher.emulator.sagemaker.call import INVOKE
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation

CALLS: Final = CallFaultPoints(
    faults=("expired_credentials",),
    of_operations={
        INVOKE: (
            "expired_credentials",
            "throttle",
            "server_error",
            "reset_before",
            "reset_after",
        )
    },
    delay={INVOKE: "slow_accept"},
    expired_token=Refusal(
        403,
        "ExpiredTokenException",
        "The security token included in the request is expired",
    ),
)


@dataclass(slots=True, frozen=True)
class InvocationFault:
    """The fault of one accepted invocation whose turn has come.

    Attributes:
        expires: The model never runs.
        model_status: The HTTP status that the model fails with, or None.
        silent: No event is published.
    """

    expires: bool = False
    model_status: int | None = None
    silent: bool = False


NO_INVOCATION_FAULT: Final = InvocationFault()
"""The model runs as usual."""


@dataclass(slots=True, frozen=True)
class Publication:
    """Messages that are published in place of one event.

    Attributes:
        strays: Messages that come before it.
        delays: One number for each copy: how much later it arrives, in seconds. Lost: none.
    """

    strays: tuple[str, ...] = ()
    delays: tuple[float, ...] = (0.0,)


EVENT_ALONE: Final = Publication()
"""The event is published once and at once."""


class EndpointFaults(Protocol):
    """Source of the faults of invocations between their acceptance and their event."""

    def invocation(self, invocation: AcceptedInvocation) -> InvocationFault:
        """Decide on an invocation whose turn has come."""

    def output(self, invocation: AcceptedInvocation, response: ModelResponse) -> ModelResponse:
        """Return the model's response, or a wrong one in its place."""

    def silences(self, invocation: AcceptedInvocation) -> bool:
        """Decide whether the event of a completed invocation is left out."""

    def publication(self, invocation: AcceptedInvocation, event: dict[str, Any]) -> Publication:
        """Decide what is published in place of an event."""
