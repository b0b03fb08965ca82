"""Parameters of SQS requests, read and checked."""

import re
from collections.abc import Callable
from typing import Any, Final

from dispatcher import limits
from dispatcher.emulator.http.message import Refusal, whole_number
from dispatcher.emulator.sqs.queue import RETENTION_SECONDS

MESSAGE_BYTES = 1_048_576
"""Largest message, and largest batch, in bytes of UTF-8 (D: 1 MiB)."""

VISIBILITY_SECONDS = 43_200
"""Longest visibility time-out (D: 12 h)."""

DELAY_SECONDS = 900
"""Longest delay of a message (D)."""

_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")

_SETTABLE: Final = {
    "DelaySeconds": (0, DELAY_SECONDS),
    "VisibilityTimeout": (0, VISIBILITY_SECONDS),
    "ReceiveMessageWaitTimeSeconds": (0, limits.SQS_LONG_POLL_SECONDS),
    "MessageRetentionPeriod": (60, 1_209_600),
    "MaximumMessageSize": (1024, MESSAGE_BYTES),
}
DEFAULTS: Final = {
    "VisibilityTimeout": "30",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "MaximumMessageSize": str(MESSAGE_BYTES),
    "MessageRetentionPeriod": str(RETENTION_SECONDS),
}
"""Attributes of a queue for which nothing was set."""

Input = dict[str, Any]
"""The JSON object of a request or of one entry of a batch."""


def text(asked: Input, name: str) -> str:
    """Return a required text; raises Refusal where it is missing."""
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal(400, "MissingParameter", f"The request must contain the parameter {name}.")
    return value


def number(asked: Input, name: str, minimum: int, maximum: int, *, default: int) -> int:
    """Return a number between ``minimum`` and ``maximum``; raises Refusal for any other."""
    value = asked.get(name)
    if value is None:
        return default
    # In Python True is a number, in JSON it is not.
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise Refusal(
            400,
            "InvalidParameterValue",
            f"Value {value} for parameter {name} is invalid. Reason: Must be between {minimum} and "
            f"{maximum}, if provided.",
        )
    return value


def texts(asked: Input, name: str) -> list[str]:
    """Return an optional list of texts; raises Refusal where it is anything else."""
    values = asked.get(name) or []
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise _wrong_shape(name, "a list of texts")
    return values


def settable(asked: Input) -> dict[str, str]:
    """Return the attributes to set on a queue; raises Refusal for any that cannot be set."""
    attributes = asked.get("Attributes") or {}
    if not isinstance(attributes, dict):
        raise _wrong_shape("Attributes", "an object")
    for name, value in attributes.items():
        if name == "Policy":
            continue
        if name not in _SETTABLE:
            raise Refusal(400, "InvalidAttributeName", f"Unknown Attribute {name}.")
        minimum, maximum = _SETTABLE[name]
        given = whole_number(str(value))
        if given is None or not minimum <= given <= maximum:
            raise Refusal(400, "InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    return {name: str(value) for name, value in attributes.items()}


def entries(asked: Input) -> list[Input]:
    """Return the entries of a batch; raises Refusal where the whole batch is wrong."""
    batch = asked.get("Entries") or []
    if not isinstance(batch, list) or not all(isinstance(entry, dict) for entry in batch):
        raise _wrong_shape("Entries", "a list of objects")
    if not batch:
        raise Refusal(400, "EmptyBatchRequest", "There should be at least one entry.")
    if len(batch) > limits.SQS_BATCH_ENTRIES:
        raise Refusal(
            400,
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {limits.SQS_BATCH_ENTRIES}. "
            f"You have sent {len(batch)}.",
        )
    ids = [text(entry, "Id") for entry in batch]
    if not all(_ENTRY_ID.fullmatch(entry_id) for entry_id in ids):
        raise Refusal(
            400,
            "InvalidBatchEntryId",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
            "It can be at most 80 letters long.",
        )
    if len(set(ids)) < len(ids):
        raise Refusal(400, "BatchEntryIdsNotDistinct", "Two or more entries have the same Id.")
    return batch


def each(batch: list[Input], action: Callable[[Input], Input | None]) -> Input:
    """Apply ``action`` to every entry and return the response: what succeeded and what failed."""
    done: list[Input] = []
    failed: list[Input] = []
    for entry in batch:
        try:
            done.append({"Id": entry["Id"], **(action(entry) or {})})
        except Refusal as refusal:
            failed.append(
                {
                    "Id": entry["Id"],
                    "SenderFault": refusal.status < 500,
                    "Code": refusal.code,
                    "Message": refusal.message,
                }
            )
    return {"Successful": done, "Failed": failed} if failed else {"Successful": done}


def _wrong_shape(name: str, shape: str) -> Refusal:
    return Refusal(400, "SerializationException", f"{name} must be {shape}.")
