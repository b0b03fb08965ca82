"""SNS filter policies, which select the messages of a subscription."""

from typing import Any


def check_policy(policy: Any) -> None:
    """Check that a policy is one the emulator understands: exact values and prefixes, nested.

    Raises:
        ValueError: It is not; the text says where.
    """
    if not isinstance(policy, dict):
        raise ValueError("FilterPolicy: must be a JSON object")  # noqa: TRY004 - data, not code
    for key, rule in policy.items():
        if isinstance(rule, dict):
            check_policy(rule)
        elif not isinstance(rule, list) or not rule:
            raise ValueError(f"FilterPolicy: {key!r} must be an object or a non-empty array")
        else:
            for condition in rule:
                _check_condition(key, condition)


def _check_condition(key: str, condition: Any) -> None:
    if isinstance(condition, dict):
        prefix = condition.get("prefix")
        if set(condition) != {"prefix"} or not isinstance(prefix, str) or not prefix:
            raise ValueError(
                f"FilterPolicy: {key!r} has the operator {sorted(condition)}; "
                'the emulator knows exact values and {"prefix": "text"}'
            )
    elif isinstance(condition, list):
        # A ValueError as for every other policy that is refused, not a TypeError of the program.
        raise ValueError(f"FilterPolicy: {key!r} must not hold an array in an array")  # noqa: TRY004


def matches(policy: dict[str, Any], document: Any) -> bool:
    """Return whether a document passes a checked policy.

    Every key must match; a key matches if any of its conditions does. Where the document holds an
    array, any of its items may match.
    """
    if isinstance(document, list):
        return any(matches(policy, item) for item in document)
    return isinstance(document, dict) and all(
        key in document and _rule_matches(rule, document[key]) for key, rule in policy.items()
    )


def _rule_matches(rule: Any, value: Any) -> bool:
    if isinstance(rule, dict):
        return matches(rule, value)
    if isinstance(value, list):
        return any(_rule_matches(rule, item) for item in value)
    return any(_condition_matches(condition, value) for condition in rule)


def _condition_matches(condition: Any, value: Any) -> bool:
    if isinstance(condition, dict):
        return isinstance(value, str) and value.startswith(condition["prefix"])
    # In Python True == 1, in JSON it is not.
    return isinstance(condition, bool) == isinstance(value, bool) and bool(condition == value)
