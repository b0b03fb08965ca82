"""The section ``retry``: its keys are reasons, and its defaults are the documented ones."""

import pytest
from pydantic import ValidationError

from dispatcher.config.retry import OutcomeRetrySettings, RetrySettings
from dispatcher.reasons import Reason


def test_every_outcome_that_can_be_retried_is_a_reason() -> None:
    assert set(OutcomeRetrySettings.model_fields) <= set(Reason)


def test_by_default_only_what_may_pass_is_retried() -> None:
    outcomes = RetrySettings().outcomes
    attempts = {name: getattr(outcomes, name).attempts for name in type(outcomes).model_fields}
    retried = {name: count for name, count in attempts.items() if count > 1}
    assert retried == {"model_server_error": 3, "expired": 2, "output_missing": 2}


@pytest.mark.parametrize(
    "section",
    [
        {"attempts": 0},
        {"base": 0},
        {"give_up_after": 0},
        {"bisection": 2.1},
        {"outcomes": {"expired": {"attempts": 101}}},
        {"outcomes": {"expird": {}}},
    ],
)
def test_what_no_retry_can_be(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RetrySettings.model_validate(section)
