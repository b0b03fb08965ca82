"""Fault points of SQS: a call, an entry of a batch, a message that was just received."""

from typing import Final, Protocol

from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.gateway.fault_types import CallFaultPoints
from dispatcher.emulator.http.message import Refusal
from dispatcher.emulator.sqs.queue import StoredMessage

CALLS: Final = CallFaultPoints(
    faults=("expired_credentials", "sqs_error", "sqs_reset"),
    expired_token=Refusal(
        403,
        "ExpiredTokenException",
        "The security token included in the request is expired",
    ),
)


class QueueFaults(Protocol):
    """Source of the faults inside queues."""

    @property
    def armed(self) -> bool:
        """Whether any fault may strike; if not, there is no need to ask further."""

    def entry(self, call: Call) -> Refusal | None:
        """Decide on one entry of a batch: return why it fails, or None."""

    def redelivers(self, message: StoredMessage) -> bool:
        """Decide whether a message that was just received is delivered once more."""
