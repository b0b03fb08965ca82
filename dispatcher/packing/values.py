"""Values as JSON, MessagePack or raw bytes, and the rules for values that these cannot carry.

A value that an encoding cannot carry exactly is refused, never changed: docs/packing.md has the
table.
"""

import base64
import json
import re
from datetime import datetime
from enum import Enum
from typing import Any, Literal, Never, TypeAlias
from uuid import UUID

import msgpack
import orjson

Format: TypeAlias = Literal["json", "msgpack", "raw"]

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_DIGITS_AS_ZEROS = bytes(
    ord("0") if chr(byte).isdecimal() and byte < 128 else byte for byte in range(256)
)
_LONG_ZEROS = b"0" * 19
_LONG_INTEGER = re.compile(rb"(?<![0-9.])[0-9]{19}")
"""Integers from 19 digits on may be beyond 64 bits, and ``orjson`` makes floats of those."""

_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]", re.DOTALL)
"""In MessagePack: a double whose exponent is all ones (and, by chance, other bytes)."""

_BASE64_KEYS = frozenset({"base64", "content_type"})


class NotEncodableError(ValueError):
    """A value that an encoding cannot carry; ``str()`` says which part of it, and why."""


def parse(raw: bytes) -> object:
    """Return the value of JSON; integers of any length keep their digits.

    Raises:
        NotEncodableError: It is not JSON, or is nested too deeply to be parsed here.
    """
    try:
        value: object = orjson.loads(raw)
        # A coarse search first: one with the expression would cost more than the parser.
        if _LONG_ZEROS in raw.translate(_DIGITS_AS_ZEROS) and _LONG_INTEGER.search(raw):
            value = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise NotEncodableError(f"the record cannot be read as JSON: {_sentence(error)}") from None
    return value


def encode(value: object, form: Format) -> bytes:
    """Return a value as bytes, by the rules of docs/packing.md.

    Raises:
        NotEncodableError: The format cannot carry it exactly.
    """
    if form == "json":
        return _json(value)
    if form == "msgpack":
        return _msgpack(value)
    return _raw(value)


def _json(value: object) -> bytes:
    try:
        text = orjson.dumps(value, _plain, _OPTIONS)
    except orjson.JSONEncodeError:
        # An integer beyond 64 bits or more than 254 levels, which the standard library takes; or
        # a value that it refuses too, with the reason.
        return _exact_json(value)
    if b"null" in text and _may_not_be_finite(value):
        _exact_json(value)
    return text


def _may_not_be_finite(value: object) -> bool:
    """Return whether a value may hold NaN or an infinity, which ``orjson`` writes as null.

    Going through MessagePack is ten times as fast as the standard library, which decides for sure.
    """
    try:
        return _NOT_FINITE.search(msgpack.packb(value, datetime=True)) is not None
    except (TypeError, ValueError, OverflowError):
        return True


def _exact_json(value: object) -> bytes:
    try:
        text = _EXACT.encode(value).encode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise NotEncodableError(f"JSON cannot carry the value: {_sentence(error)}") from None
    _check_keys(value)
    return text


def _check_keys(value: object) -> None:
    """Refuse keys that are not text, which the standard library would turn into text."""
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, dict):
            if not all(isinstance(key, str) for key in top):
                raise NotEncodableError("JSON cannot carry the value: a key must be text")
            stack.extend(top.values())
        elif isinstance(top, list | tuple):
            stack.extend(top)


def _plain(value: Any) -> object:
    """Return the JSON substitute for a value of a type that JSON does not have.

    ``orjson`` knows UUIDs and enumerations by itself; the standard library does not.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, msgpack.Timestamp):
        if value.nanoseconds % 1000:
            raise NotEncodableError("a timestamp is finer than a microsecond")
        value = value.to_datetime()
    if isinstance(value, datetime):
        offset = value.utcoffset()
        if offset is not None and offset.total_seconds() % 60:
            raise NotEncodableError("a time zone is off by seconds, which RFC 3339 cannot say")
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    raise NotEncodableError(f"{type(value).__name__} has no form in JSON")


_EXACT = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
)


def _msgpack(value: object) -> bytes:
    try:
        packed: bytes = msgpack.packb(value, datetime=True)
        # Read as a container would: keys that are neither text nor bytes are refused there.
        msgpack.unpackb(packed)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise NotEncodableError(f"MessagePack cannot carry the value: {_sentence(error)}") from None
    return packed


def _raw(value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, dict) and "base64" in value and value.keys() <= _BASE64_KEYS:
        try:
            return base64.b64decode(value["base64"], validate=True)
        except (TypeError, ValueError) as error:
            raise NotEncodableError(
                f"the value of base64 is not base64: {_sentence(error)}"
            ) from None
    raise NotEncodableError('raw carries bytes only; JSON gives them as {"base64": "..."}')


def unpack(packed: bytes) -> object:
    """Return the value of one MessagePack document, with times as ``msgpack.Timestamp``.

    Raises:
        NotEncodableError: It is not MessagePack, or has an application-specific extension type.
    """
    try:
        value: object = msgpack.unpackb(packed, strict_map_key=False, ext_hook=_no_extension)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotEncodableError(f"not MessagePack: {_sentence(error)}") from None
    return value


def _no_extension(code: int, data: bytes) -> Never:
    raise NotEncodableError(f"{len(data)} bytes of the extension type {code} have no form in JSON")


def _sentence(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) or type(error).__name__
