"""Slices of MessagePack, cut without decoding values."""

from collections.abc import Iterator

import msgpack

from dispatcher.packing.json_pointer import names_of
from dispatcher.packing.values import NotEncodableError, encode, unpack


class NotMsgpackError(ValueError):
    """Bytes that are not one MessagePack value."""


def at(packed: bytes, pointer: str) -> bytes | None:
    """Return the value at a JSON pointer (RFC 6901), or None; the whole document is checked.

    Args:
        packed: A document.
        pointer: Empty for the whole document.

    Raises:
        NotMsgpackError: It is not MessagePack.
    """
    _check(packed)
    found: bytes | None = packed
    for name in names_of(pointer):
        if found is None:
            break
        if _is_map(found):
            found = _member(found, name)
        elif is_array(found):
            children = enumerate(_children(found))
            found = next((child for index, child in children if str(index) == name), None)
        else:
            found = None
    return found


def elements(packed: bytes, max_elements: int) -> tuple[list[bytes], int]:
    """Return the elements of an array, and how many it has; another value is its only element.

    Args:
        packed: One value, checked.
        max_elements: Most elements to return.
    """
    if not is_array(packed):
        return [packed], 1
    count: int = _reader(packed).read_array_header()
    children = _children(packed)
    return [next(children) for _ in range(min(count, max_elements))], count


def member(packed: bytes, name: str, default: object = None) -> object:
    """Return a member of a map; None where it cannot be read.

    Args:
        packed: One value, checked.
        name: The member's name.
        default: The result where there is no such member, or the value is no map.
    """
    found = _member(packed, name) if _is_map(packed) else None
    return default if found is None else _value(found)


def as_json(packed: bytes) -> bytes | None:
    """Return a value as JSON, or None where JSON cannot carry it exactly."""
    try:
        return encode(unpack(packed), "json")
    except NotEncodableError:
        return None


def is_array(packed: bytes) -> bool:
    """Return whether a value, checked, is an array."""
    return packed[0] >> 4 == 0x9 or packed[0] in (0xDC, 0xDD)


def _is_map(packed: bytes) -> bool:
    return packed[0] >> 4 == 0x8 or packed[0] in (0xDE, 0xDF)


def _member(packed: bytes, name: str) -> bytes | None:
    found = None
    children = _children(packed)
    for key, child in zip(children, children, strict=True):
        if _value(key) == name:
            found = child  # of two members with one name the last one counts
    return found


def _children(packed: bytes) -> Iterator[bytes]:
    """Yield the elements of an array; the keys of a map, each followed by its value."""
    reader = _reader(packed)
    count: int = reader.read_array_header() if is_array(packed) else 2 * reader.read_map_header()
    for _ in range(count):
        begin: int = reader.tell()
        reader.skip()
        end: int = reader.tell()
        yield packed[begin:end]


def _value(packed: bytes) -> object:
    try:
        return unpack(packed)
    except NotEncodableError:
        return None


def _reader(packed: bytes) -> msgpack.Unpacker:
    reader = msgpack.Unpacker(max_buffer_size=len(packed))
    reader.feed(packed)
    return reader


def _check(packed: bytes) -> None:
    if not packed:
        raise NotMsgpackError("it is empty")
    reader = _reader(packed)
    try:
        reader.skip()
    except (msgpack.UnpackException, ValueError) as error:
        raise NotMsgpackError(str(error) or type(error).__name__) from None
    if reader.tell() != len(packed):
        raise NotMsgpackError("something follows the value")
