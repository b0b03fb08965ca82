"""Slices of JSON text, cut without parsing values, so that numbers keep their digits.

The text is checked slice by slice, which takes the memory of the largest slice only: a text is JSON
if it is an array or object by its brackets and commas, and each slice between them is JSON.
"""

import re
from collections.abc import Iterator

import orjson

from dispatcher.packing.json_pointer import names_of

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_INSIDE = rb'[^{}\[\]"]*+'
# A string, an array or object that holds no other, or one character of structure; a quotation mark
# alone begins a string that does not end.
_TOKEN = re.compile(
    rb'%b|[\[{]%b(?:%b%b)*+[\]}]|[\[\]{},"]' % (_STRING, _INSIDE, _STRING, _INSIDE), re.DOTALL
)
_MEMBER = re.compile(rb"\s*(%b)\s*:" % _STRING, re.DOTALL)
_OPENING, _CLOSING, _QUOTE = frozenset(b"[{"), frozenset(b"]}"), ord('"')
_ENDS = {b"[": b"]", b"{": b"}"}

_LONG_BYTES = 100_000
"""A text from this size on is checked in slices."""

_NO_NUMBER = re.compile(r"nan|inf(?:inity)?", re.IGNORECASE)
_NEAR_CHARS = 20


class NotJsonError(ValueError):
    """Text that is not one JSON value."""


class NothingThereError(LookupError):
    """A document without the place that a JSON pointer names."""


def check(text: bytes) -> None:
    """Check that text is one JSON value.

    Raises:
        NotJsonError: It is not.
    """
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotJsonError(_explanation(error)) from None


def _explanation(error: orjson.JSONDecodeError) -> str:
    """Return why a text is not JSON, with the text around the place."""
    text, place = error.doc, error.pos
    if not text:
        return error.msg  # it is empty, or no text
    what = error.msg
    if number := _NO_NUMBER.match(text, place):
        sign = "-" if text[:place].endswith("-") else ""
        what = f"JSON has no {sign}{number[0]}, the container has to write null"
    near = text[max(0, place - _NEAR_CHARS) : place + _NEAR_CHARS]
    return f"{what}, at {near!r}"


def _check_whole(text: bytes) -> None:
    """Check that text is one JSON value, in less memory where it is long."""
    if len(text) < _LONG_BYTES or text.startswith(b'"'):
        check(text)
    elif text.startswith(b"{"):
        for _, child in _named_children(text):
            check(child)
    else:
        # No number is that long, and the parser takes memory by the length of the text.
        raise NotJsonError("the text is neither an array, an object nor a string")


def elements(text: bytes) -> Iterator[bytes]:
    """Yield the elements of an array, each checked; a text that is no array is its only element.

    Args:
        text: A JSON text without blanks around it.

    Raises:
        NotJsonError: It is not JSON.
    """
    if not text.startswith(b"["):
        _check_whole(text)
        yield text
        return
    for start, end in _children(text):
        element = text[start:end].strip()
        check(element)
        yield element


def at(text: bytes, pointer: str) -> bytes:
    """Return the value at a JSON pointer (RFC 6901), unchecked; all else is checked.

    Args:
        text: A JSON document.
        pointer: Empty for the whole document.

    Raises:
        NotJsonError: It is not JSON.
        NothingThereError: The document has no such place.
    """
    text = text.strip()
    for name in names_of(pointer):
        found: bytes | None = None
        for key, child in _named_children(text):
            if key == name:
                if found is not None:
                    check(found)  # of two members with one name the last one counts
                found = child
            else:
                check(child)
        if found is None:
            raise NothingThereError(pointer)
        text = found
    return text


def _named_children(text: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield members by their names, and elements by their indexes."""
    if text[:1] not in _ENDS:
        check(text)
        return
    is_array = text.startswith(b"[")
    for index, (start, end) in enumerate(_children(text)):
        if is_array:
            yield str(index), text[start:end].strip()
            continue
        member = _MEMBER.match(text, start, end)
        if member is None:
            raise NotJsonError("a member of an object has no name")
        check(member[1])
        yield orjson.loads(member[1]), text[member.end() : end].strip()


def _children(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each slice between the outer brackets and commas of a text."""
    last = len(text) - 1
    if last < 1 or text[-1:] != _ENDS[text[:1]]:
        raise NotJsonError("the text ends too early")
    depth, start = 0, 1
    for token in _TOKEN.finditer(text, 1, last):
        begin, end = token.span()
        if end - begin > 1:
            continue
        mark = text[begin]
        if mark in _OPENING:
            depth += 1
        elif mark in _CLOSING:
            depth -= 1
        elif mark == _QUOTE:
            raise NotJsonError("a string does not end")
        elif depth == 0:
            yield start, begin
            start = end
    if start > 1 or text[1:last].strip():
        yield start, last
