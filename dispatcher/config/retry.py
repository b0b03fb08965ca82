"""Settings of retries: of failed calls, and of failed invocations by reason."""

from pydantic import Field

from dispatcher.config.section import Section
from dispatcher.config.units import Duration


class InvocationRetrySettings(Section):
    """Retries of the records of failed invocations, for one reason."""

    attempts: int = Field(
        1, ge=1, le=100, description="Invocations of the same records; 1 does not try them again."
    )
    backoff: Duration = Field(
        30.0, ge=0, description="Wait before the second one; doubles, with jitter, up to an hour."
    )


class OutcomeRetrySettings(Section):
    """Retries of failed invocations, by the reason that their dead letters would have."""

    model_error: InvocationRetrySettings = Field(
        InvocationRetrySettings(),
        description="The container refused the request (4xx), or failed somehow.",
    )
    model_server_error: InvocationRetrySettings = Field(
        InvocationRetrySettings(attempts=3),
        description="The container failed (5xx), or took too long.",
    )
    expired: InvocationRetrySettings = Field(
        InvocationRetrySettings(attempts=2),
        description="No completion within ttl + timeout + slack.",
    )
    count_mismatch: InvocationRetrySettings = Field(
        InvocationRetrySettings(), description="The response held a wrong number of outputs."
    )
    bad_answer: InvocationRetrySettings = Field(
        InvocationRetrySettings(), description="The response to several records could not be read."
    )
    output_missing: InvocationRetrySettings = Field(
        InvocationRetrySettings(attempts=2),
        description="It completed, and its output is not there.",
    )


class RetrySettings(Section):
    """How failed calls are repeated. Throttled calls are always repeated."""

    attempts: int = Field(
        8, ge=1, description="Calls of one invocation that may fail while others succeed."
    )
    base: Duration = Field(0.1, gt=0, description="First backoff; doubles, with full jitter.")
    cap: Duration = Field(20.0, gt=0, description="Longest backoff.")
    give_up_after: Duration = Field(
        300.0, gt=0, description="Stop the run when no call has succeeded for so long."
    )
    outcomes: OutcomeRetrySettings = Field(
        OutcomeRetrySettings(), description="Retries of failed invocations, by reason."
    )
    bisection: float = Field(
        0.1,
        ge=0,
        le=2,
        description="Most extra invocations for splitting failed packed ones: a share of the "
        "records read, and 1,000 besides; 0 never splits.",
    )
