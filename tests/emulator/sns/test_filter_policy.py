"""Filter policies, accepted and refused."""

from typing import Any

import pytest

from dispatcher.emulator.sns.filter_policy import check_policy, matches

EVENT = {"inferenceId": "run-7", "n": 1, "requestParameters": {"endpointName": "ep"}, "l": ["x"]}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"inferenceId": [{"prefix": "run-"}]}, True),
        ({"inferenceId": [{"prefix": "other"}, "run-7"]}, True),
        ({"inferenceId": ["run"]}, False),
        ({"requestParameters": {"endpointName": ["ep"]}}, True),
        ({"requestParameters": {"endpointName": ["no"]}}, False),
        ({"inferenceId": ["run-7"], "absent": ["x"]}, False),
        ({"n": [1]}, True),
        ({"n": [True]}, False),
        ({"n": [{"prefix": "1"}]}, False),
        ({"l": ["x"]}, True),
        ({"inferenceId": {"deeper": ["x"]}}, False),
    ],
)
def test_filter_policy_decides(policy: dict[str, Any], expected: bool) -> None:
    check_policy(policy)
    assert matches(policy, EVENT) is expected


@pytest.mark.parametrize(
    "policy",
    [
        [],
        {"a": "text"},
        {"a": []},
        {"a": [{"anything-but": ["x"]}]},
        {"a": [{"prefix": ""}]},
        {"a": {"b": [["x"]]}},
    ],
)
def test_filter_policy_of_another_kind_is_refused(policy: Any) -> None:
    with pytest.raises(ValueError, match="FilterPolicy"):
        check_policy(policy)
