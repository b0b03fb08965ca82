"""Fault points of a call: the moment before a service answers it.

The router asks at this point; each service declares which faults its calls can suffer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from dispatcher.config.faults import Fault
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.message import Refusal


@dataclass(slots=True, frozen=True)
class CallFault:
    """The fault of one call.

    Attributes:
        refusal: Sent instead of the response; the service does nothing.
        reset: Whether the connection is reset without a response, before or after the service has
            done its work.
        delay: How long the response, or the reset, waits, in seconds.
    """

    refusal: Refusal | None = None
    reset: Literal["before", "after"] | None = None
    delay: float = 0.0


NO_CALL_FAULT: Final = CallFault()
"""The call is answered as usual."""


class CallFaults(Protocol):
    """Source of the faults of calls."""

    @property
    def armed(self) -> bool:
        """Whether any fault may strike; if not, there is no need to ask further."""

    def call(self, call: Call) -> CallFault:
        """Decide on one call before the service answers it."""


@dataclass(slots=True, frozen=True, kw_only=True)
class CallFaultPoints:
    """Faults that the calls of one service can suffer; each service declares its own.

    At most one fault strikes a call: the first of these that does.

    Attributes:
        faults: Faults of its calls, the first to exclude the others first.
        of_operations: The same for operations that have other ones, by operation.
        delay: By operation: a fault that delays the response, beside any of the others.
        expired_token: The refusal of credentials that have expired.
    """

    faults: tuple[Fault, ...]
    of_operations: Mapping[str, tuple[Fault, ...]] = field(default_factory=dict)
    delay: Mapping[str, Fault] = field(default_factory=dict)
    expired_token: Refusal
