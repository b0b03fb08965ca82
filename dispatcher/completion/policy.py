"""Whether the records of a failed invocation are invoked anew. Pure."""

from dispatcher.config.retrying import OutcomeRetrySettings
from dispatcher.ledger.intent import BACKOFF_CAP_SECONDS


def again(reason: str, attempt: int, policy: OutcomeRetrySettings, dice: float) -> float | None:
    """Return how many seconds to wait before the next invocation, or None: they are dead letters.

    Args:
        reason: The reason that their dead letters would have.
        attempt: Which invocation of the records has failed, from 1.
        policy: Attempts and backoff by reason; what it does not name is not tried again.
        dice: A random number, 0 <= dice < 1, for the jitter.
    """
    rule = getattr(policy, reason, None)
    if rule is None or attempt >= rule.attempts:
        return None
    ceiling: float = min(BACKOFF_CAP_SECONDS, rule.backoff * 2.0 ** min(attempt - 1, 60))
    return ceiling * (0.5 + 0.5 * dice)
