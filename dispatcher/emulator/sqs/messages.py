"""One SQS message: sent, deleted, and shown to a receiver."""

import base64
import hashlib
import re
from typing import Any, Final

from dispatcher.emulator.http.message import Refusal
from dispatcher.emulator.sqs.long_poll import ACCOUNT, PolledQueue
from dispatcher.emulator.sqs.parameters import DELAY_SECONDS, MESSAGE_BYTES, Input, number, text
from dispatcher.emulator.sqs.queue import StoredMessage

FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that a message must not hold: those that XML 1.0 does not allow (D)."""


def send(queue: PolledQueue, entry: Input) -> Input:
    """Send one message and return its entry of the response.

    Raises:
        Refusal: The message is not one that SQS takes.
    """
    body = text(entry, "MessageBody")
    if len(body.encode()) > int(queue.attributes.get("MaximumMessageSize", MESSAGE_BYTES)):
        raise Refusal(
            400,
            "InvalidParameterValue",
            "One or more parameters are invalid. Reason: Message must be shorter than "
            f"{queue.attributes.get('MaximumMessageSize', MESSAGE_BYTES)} bytes.",
        )
    if FORBIDDEN.search(body):
        raise Refusal(
            400, "InvalidMessageContents", "Invalid characters found. Valid are those of XML 1.0."
        )
    default_delay = int(queue.attributes.get("DelaySeconds", "0"))
    delay = number(entry, "DelaySeconds", 0, DELAY_SECONDS, default=default_delay)
    attributes = entry.get("MessageAttributes") or {}
    if not isinstance(attributes, dict):
        raise Refusal(400, "SerializationException", "MessageAttributes must be an object.")
    try:
        md5 = attributes_md5(attributes) if attributes else None
    except ValueError as error:
        raise Refusal(
            400, "InvalidParameterValue", f"The message attribute '{error}' has no type or value."
        ) from None
    message = queue.send(body, delay=delay, attributes=attributes)
    sent = {"MessageId": message.id, "MD5OfMessageBody": message.md5}
    return sent if md5 is None else {**sent, "MD5OfMessageAttributes": md5}


def delete(queue: PolledQueue, entry: Input) -> None:
    """Delete one message by its receipt handle; raises Refusal for one of another queue."""
    try:
        queue.messages.delete(text(entry, "ReceiptHandle"))
    except ValueError:
        raise bad_receipt() from None


def bad_receipt() -> Refusal:
    """Return the refusal of a receipt handle that the queue has never issued."""
    return Refusal(404, "ReceiptHandleIsInvalid", "The input receipt handle is invalid.")


def shown(message: StoredMessage, system: set[str], custom: list[str]) -> Input:
    """Return a received message as it travels.

    Args:
        message: The message.
        system: Names of the system attributes that are wanted, or All.
        custom: Names of the message attributes that are wanted, with All, ``.*`` and ``prefix.*``.
    """
    entry: Input = {
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": message.md5,
        "Body": message.body,
    }
    if system:
        every = {
            "SenderId": ACCOUNT,
            "SentTimestamp": str(int(message.sent * 1000)),
            "ApproximateReceiveCount": str(message.receives),
            "ApproximateFirstReceiveTimestamp": str(int(message.first_received * 1000)),
        }
        entry["Attributes"] = {k: v for k, v in every.items() if "All" in system or k in system}
    wanted = {
        name: value
        for name, value in message.attributes.items()
        if any(c in ("All", ".*", name) or _prefix_of(c, name) for c in custom)
    }
    if wanted:
        entry["MessageAttributes"] = wanted
        entry["MD5OfMessageAttributes"] = attributes_md5(wanted)
    return entry


def _prefix_of(pattern: str, name: str) -> bool:
    return pattern.endswith(".*") and name.startswith(pattern[:-2])


def attributes_md5(attributes: dict[str, Any]) -> str:
    """Return MD5OfMessageAttributes in hexadecimal.

    Args:
        attributes: ``{name: {"DataType": ..., "StringValue" or "BinaryValue": ...}}``; binary
            values in base64, as they travel.

    Raises:
        ValueError: An attribute has no type, or not exactly one value; the text is its name.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        match attributes[name]:
            case {"DataType": str(kind), "StringValue": str(value), **rest} if kind:
                data = b"\x01" + _sized(value.encode())
            case {"DataType": str(kind), "BinaryValue": str(value), **rest} if kind:
                data = b"\x02" + _sized(_decoded(name, value))
            case _:
                raise ValueError(name)
        if not rest.keys().isdisjoint(("StringValue", "BinaryValue")):
            raise ValueError(name)
        digest.update(_sized(name.encode()) + _sized(kind.encode()) + data)
    return digest.hexdigest()


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _decoded(name: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise ValueError(name) from None
