"""Lifetime of staged objects, and the lifecycle rule that removes them after it. Pure."""

import json
import math

from dispatcher.aws.preflight.lifecycle import rule_of
from dispatcher.config.retry import InvocationRetrySettings
from dispatcher.config.settings import Config
from dispatcher.dispatch.staging.recent_writes import KNOWN_SECONDS
from dispatcher.retry.invocations import BACKOFF_CAP_SECONDS

_DAY_SECONDS = 86_400


def days_needed(config: Config) -> int:
    """Return how many days after it was written a staged object may be removed.

    By then its records have had all their attempts, even where each of them expired, and even where
    another record with the same content took over the object at the last moment. One day more
    is for a run that was stopped meanwhile; a run that stops for longer writes again what is gone.
    """
    outcomes = config.retry.outcomes
    retries = [value for _, value in outcomes if isinstance(value, InvocationRetrySettings)]
    attempts = max(retry.attempts for retry in retries)
    request = config.request
    deadline = request.ttl + request.timeout + config.completion.slack
    seconds = KNOWN_SECONDS + attempts * deadline + (attempts - 1) * BACKOFF_CAP_SECONDS
    return 1 + math.ceil(seconds / _DAY_SECONDS)


def advice(config: Config) -> str | None:
    """Return the lifecycle rule and the command that sets it; None without ``by_lifecycle``."""
    staging = config.staging
    if staging.bucket is None or staging.delete != "by_lifecycle":
        return None
    rule = json.dumps({"Rules": [rule_of(staging.prefix, days_needed(config))]}, indent=2)
    return (
        f"Staged objects are left to a lifecycle rule of {staging.bucket}. Write this to rule.json:"
        f"\n\n{rule}\n\n"
        "and, after adding the rules that the bucket has already, because it replaces them:\n\n"
        "aws s3api put-bucket-lifecycle-configuration \\\n"
        f"  --bucket {staging.bucket} --lifecycle-configuration file://rule.json"
    )
