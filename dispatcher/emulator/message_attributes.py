"""The MD5 of SQS message attributes, which SDKs use to check what was stored."""

import base64
import hashlib
from typing import Any


def attributes_md5(attributes: dict[str, Any]) -> str:
    """Return MD5OfMessageAttributes in hexadecimal.

    Args:
        attributes: ``{name: {"DataType": ..., "StringValue" or "BinaryValue": ...}}``; binary
            values in base64, as they travel.

    Raises:
        ValueError: An attribute has no type or no value.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        attribute = attributes[name]
        kind = attribute.get("DataType", "")
        text = attribute.get("StringValue")
        binary = attribute.get("BinaryValue")
        if not kind or (text is None) == (binary is None):
            raise ValueError(name)
        for part in (name, kind):
            digest.update(_sized(part.encode()))
        if text is not None:
            digest.update(b"\x01" + _sized(text.encode()))
        else:
            digest.update(b"\x02" + _sized(base64.b64decode(binary)))
    return digest.hexdigest()


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
