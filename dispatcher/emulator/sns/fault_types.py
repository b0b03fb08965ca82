"""Fault points of SNS."""

from typing import Final

from dispatcher.emulator.gateway.fault_types import CallFaultPoints
from dispatcher.emulator.http.message import Refusal

CALLS: Final = CallFaultPoints(
    faults=("expired_credentials",),
    expired_token=Refusal(
        403, "ExpiredToken", "The security token included in the request is expired"
    ),
)
