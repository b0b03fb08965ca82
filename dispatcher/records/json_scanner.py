"""Incremental check of JSON of any length, as strict as ``orjson``, in bounded memory; pure.

Nearly all of a large value is one long string, or numbers, or the same small object again and
again. So strings are searched as a whole, everything with at most three levels is matched by one
regular expression at once, and only the rest is scanned token by token.
"""

import codecs
import math
import re
from typing import Final, Literal

import orjson

from dispatcher.reasons import Reason
from dispatcher.records.record import KEY_CHARS

MAX_DEPTH = 1_024
"""Most levels of nesting that ``orjson`` accepts."""

MAX_NUMBER_BYTES = 100_000
"""Longest number; the only limit that a small value does not have."""

_MAX_CHAR_BYTES = 12
"""Most bytes of JSON for one character: two escapes of a surrogate pair."""

_CONTROLS = bytes(range(0x20))

_BLANK = rb"[ \t\n\r]*+"
_ESCAPE = (
    rb'\\(?>["\\/bfnrt]'
    rb"|u(?>[0-9a-cA-CefEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}"
    rb"|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))"
)
_TEXT = rb'(?>[^"\\\x00-\x1f]++|' + _ESCAPE + rb")*+"
_STRING = rb'"' + _TEXT + rb'"'
# Never beyond a double: at most 10 to the power of 100 + 99.
_NUMBER = rb"-?+(?>0|[1-9][0-9]{0,99}+)(?>\.[0-9]++)?+(?>[eE][+-]?+[0-9]{1,2}+)?+"
_SCALAR = rb"(?>" + _STRING + rb"|" + _NUMBER + rb"|true|false|null)"


def _with_one_more_level(value: bytes) -> bytes:
    member = _STRING + _BLANK + rb":" + _BLANK + value + _BLANK
    item = value + _BLANK
    # The lookaheads put something after each comma. ``value`` stands once in each, because the
    # expression doubles with each level anyway.
    in_object = rb"\{" + _BLANK + rb"(?>" + member + rb"(?>," + _BLANK + rb"(?!\})|(?=\})))*+\}"
    in_array = rb"\[" + _BLANK + rb"(?>" + item + rb"(?>," + _BLANK + rb"(?!\])|(?=\])))*+\]"
    return rb"(?>" + _SCALAR + rb"|" + in_object + rb"|" + in_array + rb")"


_LEVELS = 3
_VALUE = _with_one_more_level(_with_one_more_level(_with_one_more_level(_SCALAR)))
_COMMA = _BLANK + rb"," + _BLANK

_blank = re.compile(_BLANK)
_text = re.compile(_TEXT)
_name = re.compile(_STRING + _BLANK + rb":")
_items = re.compile(rb"(?>" + _VALUE + _COMMA + rb")*+")
_members = re.compile(rb"(?>" + _STRING + _BLANK + rb":" + _BLANK + _VALUE + _COMMA + rb")*+")
_last = re.compile(_VALUE + rb"(?=" + _BLANK + rb"[,\]}])")
_digits = re.compile(rb"[-+.0-9eE]++")
_number = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_around = re.compile(rb"[ \t\n\r\x0b\x0c]*+")  # what ``bytes.strip`` removes

_VALUE_DUE, _FIRST_ITEM, _FIRST_NAME, _NAME, _COLON, _AFTER, _DONE, _IN_STRING = range(8)
_ARRAY, _OBJECT = b"[{"
_QUOTE, _CLOSE_ARRAY, _CLOSE_OBJECT, _COMMA_SIGN, _COLON_SIGN = b'"]},:'
_LITERALS: dict[int, tuple[bytes, bool | None]] = {
    ord("t"): (b"true", True),
    ord("f"): (b"false", False),
    ord("n"): (b"null", None),
}
_NUMERIC = frozenset(b"-0123456789")

MISSING: Final = object()
"""There is no such field."""

OVERLONG: Final = object()
"""The field is text of more than ``KEY_CHARS`` characters, or a number with too many digits."""


class MalformedError(ValueError):
    """Bytes that are not JSON; ``str()`` says why.

    Attributes:
        reason: ``BAD_UTF8`` or ``BAD_JSON``.
        at: The byte at fault, counted from 1.
    """

    def __init__(
        self, reason: Literal[Reason.BAD_UTF8, Reason.BAD_JSON], at: int, message: str
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.at = at


class JsonScanner:
    """Incremental scanner of one JSON value.

    Args:
        field: The field of the outermost object whose value to capture, or None.
        max_depth: Most levels of nesting.

    Attributes:
        value: The field's value, an empty list for an array or object; ``MISSING``, ``OVERLONG``.
        is_object: The value is an object.
    """

    def __init__(self, field: str | None = None, *, max_depth: int = MAX_DEPTH) -> None:
        self.value: object = MISSING
        self.is_object = False
        self._field = field
        self._max_name_bytes = _MAX_CHAR_BYTES * len(field or "") + 2
        self._max_depth = max_depth
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._fed = 0
        self._rest = b""
        self._state = _VALUE_DUE
        self._stack = bytearray()
        self._is_name = False
        self._is_wanted = False
        self._captured: bytearray | None = None
        self._max_captured = 0

    def feed(self, piece: bytes) -> None:
        """Scan the next bytes.

        Raises:
            MalformedError: This is not JSON, and nothing that follows can make it JSON.
        """
        self._check_utf8(piece)
        self._fed += len(piece)
        self._take(self._rest + piece if self._rest else piece, is_last=False)

    def end(self) -> None:
        """End the value: nothing follows.

        Raises:
            MalformedError: The value is not JSON.
        """
        self._check_utf8(b"", is_last=True)
        self._take(self._rest, is_last=True)
        if self._state != _DONE:
            raise MalformedError(Reason.BAD_JSON, self._fed + 1, "it ends too early")

    def _check_utf8(self, piece: bytes, *, is_last: bool = False) -> None:
        pending = len(self._utf8.getstate()[0])
        if not pending and piece.isascii():
            return
        try:
            self._utf8.decode(piece, is_last)
        except UnicodeDecodeError as error:
            at = self._fed - pending + error.start + 1
            raise MalformedError(Reason.BAD_UTF8, at, "it is not UTF-8") from None

    def _take(self, buffer: bytes, *, is_last: bool) -> None:
        """Scan a buffer; a rest that cannot be judged yet is kept for the next call."""
        at, length = 0, len(buffer)
        while at < length:
            if self._state == _IN_STRING:
                before = at
                at = self._take_string(buffer, at, is_last=is_last)
                if self._state == _IN_STRING and at in (before, length):
                    break
                continue
            skipped = (_around if self._state == _DONE else _blank).match(buffer, at)
            assert skipped is not None
            at = skipped.end()
            if at == length:
                break
            after = self._take_token(buffer, at, is_last=is_last)
            if after == at:
                break
            at = after
        self._rest = buffer[at:]

    def _take_token(self, buffer: bytes, at: int, *, is_last: bool) -> int:
        """Take a token, or many at once; return their end, or ``at`` where more is needed."""
        first, state = buffer[at], self._state
        if state in (_VALUE_DUE, _FIRST_ITEM):
            return self._take_value(buffer, at, first, is_last=is_last)
        if state in (_NAME, _FIRST_NAME):
            if first == _CLOSE_OBJECT and state == _FIRST_NAME:
                return self._close(at)
            return self._take_member(buffer, at, first)
        if state == _COLON and first == _COLON_SIGN:
            self._state = _VALUE_DUE
            return at + 1
        if state == _AFTER:
            is_array = self._stack[-1] == _ARRAY
            if first == _COMMA_SIGN:
                self._state = _VALUE_DUE if is_array else _NAME
                return at + 1
            if first == (_CLOSE_ARRAY if is_array else _CLOSE_OBJECT):
                return self._close(at)
        raise self._unexpected(buffer, at)

    def _take_value(self, buffer: bytes, at: int, first: int, *, is_last: bool) -> int:
        stack = self._stack
        if stack and not self._is_wanted and len(stack) + _LEVELS <= self._max_depth:
            if stack[-1] == _ARRAY and (after := _end(_items, buffer, at)) > at:
                self._state = _VALUE_DUE
                return after
            if (match := _last.match(buffer, at)) is not None:
                self._state = _AFTER
                return match.end()
        if first == _QUOTE:
            self._begin_string(KEY_CHARS * _MAX_CHAR_BYTES if self._is_wanted else 0)
            return at + 1
        if first in (_ARRAY, _OBJECT):
            if len(stack) == self._max_depth:
                raise self._malformed(buffer, at, f"it has more than {self._max_depth:,} levels")
            if not stack:
                self.is_object = first == _OBJECT
            self._note_value([])
            stack.append(first)
            self._state = _FIRST_ITEM if first == _ARRAY else _FIRST_NAME
            return at + 1
        if first == _CLOSE_ARRAY and self._state == _FIRST_ITEM:
            return self._close(at)
        if first in _NUMERIC:
            return self._take_number(buffer, at, is_last=is_last)
        if first in _LITERALS:
            word, value = _LITERALS[first]
            if buffer.startswith(word, at):
                self._note_value(value)
                self._end_value()
                return at + len(word)
            if word.startswith(buffer[at:]) and not is_last:
                return at
        raise self._unexpected(buffer, at)

    def _take_member(self, buffer: bytes, at: int, first: int) -> int:
        """Take members of an object: all complete ones, or the name of one."""
        is_outermost = len(self._stack) == 1 and self._field is not None
        if not is_outermost and len(self._stack) + _LEVELS <= self._max_depth:
            after = _end(_members, buffer, at)
            if after > at:
                self._state = _NAME
                return after
        if (match := _name.match(buffer, at)) is not None:
            if is_outermost:
                self._is_wanted = self._is_field(
                    buffer[at + 1 : buffer.rindex(b'"', at, match.end())]
                )
            self._state = _VALUE_DUE
            return match.end()
        if first != _QUOTE:
            raise self._unexpected(buffer, at)
        self._begin_string(self._max_name_bytes if is_outermost else 0, is_name=True)
        return at + 1

    def _close(self, at: int) -> int:
        self._stack.pop()
        self._state = _AFTER if self._stack else _DONE
        return at + 1

    def _end_value(self) -> None:
        self._state = _AFTER if self._stack else _DONE

    # Strings

    def _begin_string(self, max_bytes: int, *, is_name: bool = False) -> None:
        """Begin a string, and capture up to ``max_bytes`` of it."""
        self._captured = bytearray() if max_bytes else None
        self._max_captured = max_bytes
        self._is_name = is_name
        self._state = _IN_STRING

    def _take_string(self, buffer: bytes, at: int, *, is_last: bool) -> int:
        """Continue a string; return its end, or the place from which more is needed."""
        quote = buffer.find(b'"', at)
        end = len(buffer) if quote < 0 else quote
        escape = buffer.find(b"\\", at, end)
        plain = end if escape < 0 else escape
        if plain > at:
            self._check_controls(buffer, at, plain)
            self._capture(buffer, at, plain)
        if escape < 0:
            if quote < 0:
                return end
            self._end_string()
            return quote + 1
        # Escapes come in groups.
        after = _end(_text, buffer, escape)
        if after == escape and (is_last or len(buffer) - escape >= _MAX_CHAR_BYTES):
            raise self._malformed(buffer, escape, "there is no such escape")
        self._capture(buffer, escape, after)
        return after

    def _check_controls(self, buffer: bytes, start: int, end: int) -> None:
        text = buffer[start:end]
        left = text.translate(None, _CONTROLS)
        if len(left) != len(text):
            first = next(n for n, byte in enumerate(text) if byte < 0x20)
            raise self._malformed(buffer, start + first, "a control character stands in a string")

    def _capture(self, buffer: bytes, start: int, end: int) -> None:
        if self._captured is not None:
            room = self._max_captured + 1 - len(self._captured)
            self._captured += buffer[start : min(end, start + room)]

    def _end_string(self) -> None:
        captured, self._captured = self._captured, None
        is_whole = captured is not None and len(captured) <= self._max_captured
        if self._is_name:
            if captured is not None:
                self._is_wanted = is_whole and self._is_field(bytes(captured))
            self._state = _COLON
            return
        if captured is not None:
            text = orjson.loads(b'"%b"' % bytes(captured)) if is_whole else ""
            self._note_value(text if is_whole and len(text) <= KEY_CHARS else OVERLONG)
        self._end_value()

    def _is_field(self, name: bytes) -> bool:
        if len(name) > self._max_name_bytes:
            return False
        return bool(orjson.loads(b'"%b"' % name) == self._field)

    # Other values

    def _take_number(self, buffer: bytes, at: int, *, is_last: bool) -> int:
        end = _end(_digits, buffer, at)
        if end - at > MAX_NUMBER_BYTES:
            message = f"a number has more than {MAX_NUMBER_BYTES:,} digits"
            raise self._malformed(buffer, at, message)
        if end == len(buffer) and not is_last:
            return at
        digits = buffer[at:end]
        if _number.fullmatch(digits) is None:
            raise self._malformed(buffer, at, "there is no such number")
        if math.isinf(float(digits)):
            raise self._malformed(buffer, at, "a number is beyond a double")
        if self._is_wanted:
            self._note_value(OVERLONG if end - at > KEY_CHARS else orjson.loads(digits))
        self._end_value()
        return end

    def _note_value(self, value: object) -> None:
        """Store a value that begins here, if it is the wanted field's; the last one counts."""
        if self._is_wanted:
            self.value = value
            self._is_wanted = False

    def _unexpected(self, buffer: bytes, at: int) -> MalformedError:
        expected = {
            _VALUE_DUE: "a value",
            _FIRST_ITEM: "a value or the end of the array",
            _FIRST_NAME: "a name or the end of the object",
            _NAME: "a name",
            _COLON: "a colon",
            _AFTER: "a comma or an end",
            _DONE: "nothing more",
        }[self._state]
        return self._malformed(buffer, at, f"{expected} was expected")

    def _malformed(self, buffer: bytes, at: int, message: str) -> MalformedError:
        return MalformedError(Reason.BAD_JSON, self._fed - len(buffer) + at + 1, message)


def _end(pattern: re.Pattern[bytes], buffer: bytes, at: int) -> int:
    """Return the end of the longest match; the pattern matches the empty text too."""
    match = pattern.match(buffer, at)
    assert match is not None
    return match.end()
