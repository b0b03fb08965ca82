"""Settings of the emulator's faults: the share that each one strikes."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from dispatcher.config.section import Section
from dispatcher.config.units import Duration

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]

Fault: TypeAlias = Literal[
    "throttle",
    "server_error",
    "slow_accept",
    "reset_before",
    "reset_after",
    "expired_credentials",
    "failure",
    "failure_only",
    "expiry",
    "silent_expiry",
    "silent_output",
    "wrong_count",
    "lost_event",
    "duplicate_event",
    "late_event",
    "reordered_event",
    "foreign_event",
    "malformed_event",
    "s3_error",
    "s3_reset",
    "sqs_error",
    "sqs_reset",
    "sqs_failed_entry",
    "sqs_redelivery",
]
"""Each is a key of FaultSettings, a share of what it can strike, 0 to 1."""


class FaultSettings(Section):
    """The share of calls, invocations, events and messages that each fault strikes."""

    throttle: Share = Field(0.0, description="InvokeEndpointAsync is throttled.")
    server_error: Share = Field(0.0, description="The response has status 500 or 503.")
    slow_accept: Share = Field(0.0, description="Accepted at once, and the response comes late.")
    slow_accept_delay: Duration = Field(1.0, gt=0, description="Delay of the response.")
    reset_before: Share = Field(0.0, description="The connection is reset, nothing is accepted.")
    reset_after: Share = Field(0.0, description="Accepted, then reset without a response.")
    expired_credentials: Share = Field(
        0.0, description="A call of any service is refused: the token has expired."
    )

    failure: Share = Field(0.0, description="The model fails, with status 400 or 500.")
    failure_only: Share = Field(0.0, description="The model fails, and no event is published.")
    expiry: Share = Field(0.0, description="The model never runs, and an Expired event comes.")
    silent_expiry: Share = Field(0.0, description="The model never runs, and nothing comes.")
    silent_output: Share = Field(0.0, description="The output object is there, without an event.")
    wrong_count: Share = Field(0.0, description="The last of several outputs is missing.")

    lost_event: Share = Field(0.0, description="The event never comes.")
    duplicate_event: Share = Field(0.0, description="The event comes more than once.")
    duplicate_event_copies: int = Field(1, ge=1, le=1000, description="Number of extra copies.")
    late_event: Share = Field(0.0, description="The event comes late.")
    late_event_delay: Duration = Field(60.0, gt=0, description="Delay of the event.")
    reordered_event: Share = Field(0.0, description="Later events overtake the event.")
    reordered_event_window: Duration = Field(
        1.0, gt=0, description="Maximum delay of the event, drawn for each copy."
    )
    foreign_event: Share = Field(0.0, description="Another caller's event comes first.")
    malformed_event: Share = Field(0.0, description="An event that makes no sense comes first.")

    s3_error: Share = Field(0.0, description="S3 answers 503 and does nothing.")
    s3_reset: Share = Field(0.0, description="S3 does it, then resets the connection.")
    sqs_error: Share = Field(0.0, description="SQS answers 503 and does nothing.")
    sqs_reset: Share = Field(0.0, description="SQS does it, then resets the connection.")
    sqs_failed_entry: Share = Field(0.0, description="One entry of a batch fails.")
    sqs_redelivery: Share = Field(0.0, description="A message that was received is there again.")
