"""One record as it stands in a payload: JSON as it was read, or made of its value."""

from typing import Literal, TypeAlias

import msgpack
import orjson

Format: TypeAlias = Literal["json", "msgpack", "raw"]


class NotEncodableError(ValueError):
    """A value that an encoding cannot carry; ``str()`` says what of it, and why."""


def encode(value: object, form: Format) -> bytes:
    """Return a value as bytes.

    Raises:
        NotEncodableError: The format cannot carry it exactly.
    """
    if form == "msgpack":
        packed: bytes = msgpack.packb(value)
        return packed
    return orjson.dumps(value)
