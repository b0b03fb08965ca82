"""The lifecycle rule of the bucket that payloads are staged in. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Rule: TypeAlias = Mapping[str, Any]
"""A rule as ``aws s3api`` and botocore write it."""


def rule_of(prefix: str, days: int) -> dict[str, object]:
    """Return a rule that removes staged objects, and parts of uploads that were never completed.

    Args:
        prefix: Prefix of the objects' keys.
        days: How long an object is needed at most, in days after it was written.
    """
    return {
        "ID": "dispatcher-staged",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": days},
        # Only where the bucket keeps versions: what has expired is gone then.
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }


def shortfall(rules: Sequence[Rule], prefix: str, days: int) -> str | None:
    """Return the shortfall of a bucket's rules for staged objects, or None.

    Args:
        rules: Rules of the bucket.
        prefix: Prefix of the objects' keys.
        days: How long an object is needed at most, in days after it was written.
    """
    covering = [rule for rule in rules if _covers(rule, prefix)]
    ages = [age for rule in rules if (age := _age(rule)) is not None and _touches(rule, prefix)]
    if any(age < days for age in ages):
        return f"a rule removes objects after {min(ages)} days, and they are needed for {days}"
    if not any(_age(rule) is not None for rule in covering):
        return f"no rule removes all objects below {prefix!r}"
    if not any("AbortIncompleteMultipartUpload" in rule for rule in covering):
        return f"no rule aborts incomplete multipart uploads below {prefix!r}"
    return None


def _age(rule: Rule) -> int | None:
    days = rule.get("Expiration", {}).get("Days")
    return days if isinstance(days, int) else None


def _covers(rule: Rule, prefix: str) -> bool:
    """Return whether a rule applies to everything below a prefix."""
    conditions = rule.get("Filter", {})
    is_enabled = rule.get("Status") == "Enabled"
    return is_enabled and conditions.keys() <= {"Prefix"} and prefix.startswith(_prefix(rule))


def _touches(rule: Rule, prefix: str) -> bool:
    """Return whether a rule may apply to something below a prefix."""
    rule_prefix = _prefix(rule)
    is_near = prefix.startswith(rule_prefix) or rule_prefix.startswith(prefix)
    return rule.get("Status") == "Enabled" and is_near


def _prefix(rule: Rule) -> str:
    conditions = rule.get("Filter", {})
    # Rules from before 2017 have it outside the filter; filters of several conditions nest it.
    prefix = (
        conditions.get("Prefix") or conditions.get("And", {}).get("Prefix") or rule.get("Prefix")
    )
    return prefix if isinstance(prefix, str) else ""
