"""Records from lines of JSON: checked, and given their keys and positions."""

from collections.abc import Sequence

import orjson

from dispatcher.flow.content import LARGE_BYTES, FileSlice
from dispatcher.reasons import Reason
from dispatcher.records.json_scanner import MISSING, OVERLONG, MalformedError
from dispatcher.records.large_value import UTF8_MARK, LargeValue
from dispatcher.records.record import (
    KEY_CHARS,
    Held,
    Item,
    Key,
    LargeRecord,
    Position,
    Record,
    Unreadable,
)
from dispatcher.records.source import Mark

_CARRIAGE_RETURN = ord("\r")  # searched as a number: seven times faster than as bytes
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class JsonLines:
    """Parser of one stream's lines, in order, into items.

    JSON is what ``orjson`` accepts: numbers beyond a double, lone surrogates and more than 1,024
    levels are refused here, as other readers would refuse them later.

    Args:
        stream: Name of the stream.
        key: The field that holds a record's key; None makes the key from the line number.
        max_bytes: The longest line that can be a record, in bytes.
        mark: The begin of the first line.
    """

    def __init__(self, stream: str, *, key: str | None, max_bytes: int, mark: Mark) -> None:
        self._stream = stream
        self._key = key
        self._max_bytes = max_bytes
        self._start = mark.offset
        self._end = mark.offset
        self._line = mark.line

    def parse(self, lines: Sequence[bytes]) -> list[Item]:
        """Return the items of the next lines; a blank line gives none.

        Every line counts one byte for its break, even a last one without: so its span is the same
        when the file has grown and is read again.

        Args:
            lines: The lines without their breaks.
        """
        # One loop with local names: this is the hottest path of a run.
        items: list[Item] = []
        stream, field, max_bytes = self._stream, self._key, self._max_bytes
        start, end, number = self._start, self._end, self._line
        for line in lines:
            number += 1
            end += len(line) + 1
            raw = line.strip()
            if number == 1 and raw.startswith(UTF8_MARK):
                raw = raw[len(UTF8_MARK) :].strip()
            if not raw:
                continue
            position = Position(stream, start, end, number)
            start = end
            if len(line) > max_bytes:
                items.append(self._too_long(position, len(line)))
                continue
            items.append(item_of(position, raw, field))
        self._start, self._end, self._line = start, end, number
        return items

    def skip(self, length: int) -> Unreadable:
        """Return the item of a line that was too long to keep.

        Args:
            length: Its bytes without the line break.
        """
        self._line += 1
        self._end += length + 1
        position = Position(self._stream, self._start, self._end, self._line)
        self._start = self._end
        return self._too_long(position, length)

    def add(self, value: LargeValue) -> list[Item]:
        """Return the item of a line that is not in memory; an empty list for a blank one."""
        self._line += 1
        self._end += value.length + 1
        position = Position(self._stream, self._start, self._end, self._line)
        item = item_of_large(position, value, self._key)
        if item is None:
            return []
        self._start = self._end
        return [item]

    def damaged(self, damage: str, held: int) -> Unreadable:
        """Return the item of the rest of the stream, which cannot be decoded.

        Its span ends one byte behind all that could be decoded: a span is never empty, and a mark
        behind it shows that the damage is settled.

        Args:
            damage: A description of the damage, as a sentence without its full stop.
            held: Bytes decoded of a line whose end is lost.
        """
        self._line += 1
        self._end += held + 1
        position = Position(self._stream, self._start, self._end, self._line)
        self._start = self._end
        message = (
            f"{self._stream}, line {self._line} (byte {self._end - 1} of the content): {damage}; "
            "nothing behind this place was read"
        )
        return Unreadable(position, _default_key(position), b"", Reason.BAD_COMPRESSION, message)

    def _too_long(self, position: Position, length: int) -> Unreadable:
        begin = position.end - length - 1
        message = (
            f"{_place(position)}: the line at byte {begin} is {length} bytes long, "
            f"source.max_record is {self._max_bytes}"
        )
        return Unreadable(position, _default_key(position), b"", Reason.TOO_LARGE, message)


def item_of(position: Position, raw: bytes, field: str | None, *, name: str | None = None) -> Held:
    """Return the item of one JSON value.

    Args:
        position: Its position.
        raw: Its text, without line breaks between its tokens other than carriage returns.
        field: The field that holds its key; None makes the key from its position.
        name: Its key, and its name in messages, in place of the position.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return _malformed(position, raw, error, name)
    if _CARRIAGE_RETURN in raw:
        raw = raw.replace(b"\r", b" ")
    if field is None:
        return Record(position, name or _default_key(position), raw)
    try:
        key: Key = value[field]
    except (KeyError, TypeError):
        return _missing_key(position, raw, field, is_object=isinstance(value, dict))
    kind = type(key)
    # mypy does not narrow ``key`` by ``kind``; isinstance would let True pass for an int.
    if kind is not int and (kind is not str or len(key) > KEY_CHARS):  # type: ignore[arg-type]
        return _bad_key(position, raw, field, key)
    return Record(position, key, raw)


def item_of_large(
    position: Position, value: LargeValue, field: str | None, *, name: str | None = None
) -> Item | None:
    """Return the item of one large JSON value; None where there were only blanks.

    An item of malformed JSON has no bytes: they are too many to keep.

    Args:
        position: Its position.
        value: The value, complete; this ends it.
        field: The field that holds its key; None makes the key from its position.
        name: Its key, and its name in messages, in place of the position.
    """
    content = value.end()
    if content is None:
        return None
    if isinstance(content, MalformedError):
        place = name or _place(position)
        message = (
            f"{place}: the record of {value.length:,} bytes is not JSON at its byte "
            f"{content.at:,}, {content}"
        )
        if content.reason == Reason.BAD_UTF8:
            message = f"{place}: not UTF-8 at byte {content.at:,} of the record"
        return Unreadable(position, name or _default_key(position), b"", content.reason, message)
    key: Key = name or _default_key(position)
    if field is not None:
        key_value = value.found
        if key_value is MISSING:
            return _missing_key(position, content, field, is_object=value.is_object)
        if key_value is OVERLONG or type(key_value) not in (int, str):
            return _bad_key(position, content, field, key_value)
        assert isinstance(key_value, int | str)
        key = key_value
    if content.size < LARGE_BYTES:  # nearly all were blanks
        raw = content.read()
        content.close()
        return Record(position, key, raw)
    return LargeRecord(position, key, content)


def _place(position: Position) -> str:
    if position.message is not None:
        return f"{position.stream}, message {position.message}"
    return f"{position.stream}, line {position.line}"


def _default_key(position: Position) -> str:
    return position.message or f"{position.stream}:{position.line}"


def _malformed(
    position: Position, raw: bytes, error: orjson.JSONDecodeError, name: str | None
) -> Unreadable:
    place = name or _place(position)
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        reason = Reason.BAD_UTF8
        message = f"{place}: not UTF-8 at byte {wrong.start + 1} of the record"
        if position.line == 1 and raw.startswith(_UTF16_MARKS):
            message += "; the file begins like UTF-16: convert it to UTF-8"
    else:
        reason = Reason.BAD_JSON
        where = f"line {error.lineno}, column" if name else "column"
        message = f"{place}, {where} {error.colno}: not JSON, {error.msg}"
    return Unreadable(position, name or _default_key(position), raw, reason, message)


def _missing_key(
    position: Position, raw: bytes | FileSlice, field: str, *, is_object: bool
) -> Unreadable:
    lack = "has no field" if is_object else "is not an object, so it has no field"
    message = f"{_place(position)}: the record {lack} {field!r}, which source.key names"
    return Unreadable(position, _default_key(position), raw, Reason.MISSING_KEY, message)


def _bad_key(position: Position, raw: bytes | FileSlice, field: str, key: object) -> Unreadable:
    if key is OVERLONG:
        wrong = f"is too long, a key has at most {KEY_CHARS} characters"
    elif isinstance(key, str):
        wrong = f"is text of {len(key)} characters, a key has at most {KEY_CHARS}"
    else:
        kinds = {float: "a fraction or beyond 64 bits", bool: "true or false", type(None): "null"}
        kind = kinds.get(type(key), "an array or object")
        wrong = f"is {kind}, a key is text or an integer"
    message = f"{_place(position)}: the field {field!r} {wrong}"
    return Unreadable(position, _default_key(position), raw, Reason.BAD_KEY, message)
