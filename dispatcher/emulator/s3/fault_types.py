"""Fault points of S3."""

from typing import Final

from dispatcher.emulator.gateway.fault_types import CallFaultPoints
from dispatcher.emulator.http.message import Refusal

CALLS: Final = CallFaultPoints(
    faults=("expired_credentials", "s3_error", "s3_reset"),
    expired_token=Refusal(400, "ExpiredToken", "The provided token has expired."),
)
