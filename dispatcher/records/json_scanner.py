"""JSON of any length checked piece by piece: what ``orjson`` takes for it, in bounded memory. Pure.

Nearly all of a large value is one long string, or numbers, or the same small object again and
again. So strings are searched as a whole, everything that has no more than three levels is matched
by one expression in one go, and only what remains is looked at token by token.
"""

import codecs
import math
import re
from typing import Final, Literal

import orjson

from dispatcher.records.record import KEY_CHARS

DEEPEST = 1_024
"""Most levels of nesting: ``orjson`` takes no more."""

NUMBER_BYTES = 100_000
"""Longest number; the only thing that is refused here and would not be in a small value."""

_CHAR_BYTES = 12
"""A character takes at most so many bytes of JSON: two escapes of a surrogate pair."""

_CONTROLS = bytes(range(0x20))

_BLANK = rb"[ \t\n\r]*+"
_ESCAPE = (
    rb'\\(?>["\\/bfnrt]'
    rb"|u(?>[0-9a-cA-CefEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}"
    rb"|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))"
)
_TEXT = rb'(?>[^"\\\x00-\x1f]++|' + _ESCAPE + rb")*+"
_STRING = rb'"' + _TEXT + rb'"'
# Surely not beyond a double: at most 10 to the power of 100 + 99.
_NUMBER = rb"-?+(?>0|[1-9][0-9]{0,99}+)(?>\.[0-9]++)?+(?>[eE][+-]?+[0-9]{1,2}+)?+"
_SCALAR = rb"(?>" + _STRING + rb"|" + _NUMBER + rb"|true|false|null)"


def _with_one_more_level(value: bytes) -> bytes:
    member = _STRING + _BLANK + rb":" + _BLANK + value + _BLANK
    item = value + _BLANK
    # Each comma has something behind it. Written once each: the expression doubles with each level.
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
_around = re.compile(rb"[ \t\n\r\x0b\x0c]*+")  # what ``bytes.strip`` takes away

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
    """Bytes that are no JSON; ``str()`` says what of them.

    Attributes:
        reason: ``bad_utf8`` or ``bad_json``.
        at: Which byte, counted from 1.
    """

    def __init__(self, reason: Literal["bad_utf8", "bad_json"], at: int, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.at = at


class JsonScanner:
    """Takes one value in pieces, and tells whether it is one.

    Args:
        field: The field of the outermost object whose value is wanted, or None.
        deepest: Most levels of nesting.

    Attributes:
        value: Of the field, an empty list for any array or object; ``MISSING`` or ``OVERLONG``.
        is_object: Whether the value is an object.
    """

    def __init__(self, field: str | None = None, *, deepest: int = DEEPEST) -> None:
        self.value: object = MISSING
        self.is_object = False
        self._field = field
        self._longest_name = _CHAR_BYTES * len(field or "") + 2
        self._deepest = deepest
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._fed = 0
        self._rest = b""
        self._state = _VALUE_DUE
        self._stack = bytearray()
        self._is_name = False
        self._is_wanted = False
        self._captured: bytearray | None = None
        self._most_captured = 0

    def feed(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            MalformedError: It is no JSON, whatever comes.
        """
        self._check_utf8(piece)
        self._fed += len(piece)
        self._take(self._rest + piece if self._rest else piece, is_last=False)

    def end(self) -> None:
        """Take note that nothing follows.

        Raises:
            MalformedError: It is no JSON.
        """
        self._check_utf8(b"", is_last=True)
        self._take(self._rest, is_last=True)
        if self._state != _DONE:
            raise MalformedError("bad_json", self._fed + 1, "it ends too early")

    def _check_utf8(self, piece: bytes, *, is_last: bool = False) -> None:
        pending = len(self._utf8.getstate()[0])
        if not pending and piece.isascii():
            return
        try:
            self._utf8.decode(piece, is_last)
        except UnicodeDecodeError as error:
            at = self._fed - pending + error.start + 1
            raise MalformedError("bad_utf8", at, "it is not UTF-8") from None

    def _take(self, buffer: bytes, *, is_last: bool) -> None:
        """Look at what is there; what cannot be told yet is kept for the next time."""
        at, length = 0, len(buffer)
        while at < length:
            if self._state == _IN_STRING:
                before = at
                at = self._in_string(buffer, at, is_last=is_last)
                if self._state == _IN_STRING and at in (before, length):
                    break
                continue
            skipped = (_around if self._state == _DONE else _blank).match(buffer, at)
            assert skipped is not None
            at = skipped.end()
            if at == length:
                break
            after = self._token(buffer, at, is_last=is_last)
            if after == at:
                break
            at = after
        self._rest = buffer[at:]

    def _token(self, buffer: bytes, at: int, *, is_last: bool) -> int:
        """Take a token, or many at once; return where it ends, or ``at`` where more is needed."""
        first, state = buffer[at], self._state
        if state in (_VALUE_DUE, _FIRST_ITEM):
            return self._value(buffer, at, first, is_last=is_last)
        if state in (_NAME, _FIRST_NAME):
            if first == _CLOSE_OBJECT and state == _FIRST_NAME:
                return self._close(at)
            return self._member(buffer, at, first)
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

    def _value(self, buffer: bytes, at: int, first: int, *, is_last: bool) -> int:
        stack = self._stack
        if stack and not self._is_wanted and len(stack) + _LEVELS <= self._deepest:
            if stack[-1] == _ARRAY and (after := _end(_items, buffer, at)) > at:
                self._state = _VALUE_DUE
                return after
            if (found := _last.match(buffer, at)) is not None:
                self._state = _AFTER
                return found.end()
        if first == _QUOTE:
            self._begin_string(KEY_CHARS * _CHAR_BYTES if self._is_wanted else 0)
            return at + 1
        if first in (_ARRAY, _OBJECT):
            if len(stack) == self._deepest:
                raise self._malformed(buffer, at, f"it has more than {self._deepest:,} levels")
            if not stack:
                self.is_object = first == _OBJECT
            self._found([])
            stack.append(first)
            self._state = _FIRST_ITEM if first == _ARRAY else _FIRST_NAME
            return at + 1
        if first == _CLOSE_ARRAY and self._state == _FIRST_ITEM:
            return self._close(at)
        if first in _NUMERIC:
            return self._a_number(buffer, at, is_last=is_last)
        if first in _LITERALS:
            word, value = _LITERALS[first]
            if buffer.startswith(word, at):
                self._found(value)
                self._end_value()
                return at + len(word)
            if word.startswith(buffer[at:]) and not is_last:
                return at
        raise self._unexpected(buffer, at)

    def _member(self, buffer: bytes, at: int, first: int) -> int:
        """Take members of an object: all that are whole, or the name of one."""
        is_outermost = len(self._stack) == 1 and self._field is not None
        if not is_outermost and len(self._stack) + _LEVELS <= self._deepest:
            after = _end(_members, buffer, at)
            if after > at:
                self._state = _NAME
                return after
        if (found := _name.match(buffer, at)) is not None:
            if is_outermost:
                self._is_wanted = self._is_field(
                    buffer[at + 1 : buffer.rindex(b'"', at, found.end())]
                )
            self._state = _VALUE_DUE
            return found.end()
        if first != _QUOTE:
            raise self._unexpected(buffer, at)
        self._begin_string(self._longest_name if is_outermost else 0, is_name=True)
        return at + 1

    def _close(self, at: int) -> int:
        self._stack.pop()
        self._state = _AFTER if self._stack else _DONE
        return at + 1

    def _end_value(self) -> None:
        self._state = _AFTER if self._stack else _DONE

    # Strings

    def _begin_string(self, most: int, *, is_name: bool = False) -> None:
        """Begin a string, of which up to ``most`` bytes are needed."""
        self._captured = bytearray() if most else None
        self._most_captured = most
        self._is_name = is_name
        self._state = _IN_STRING

    def _in_string(self, buffer: bytes, at: int, *, is_last: bool) -> int:
        """Go on with a string; return where it ends, or from where more is needed."""
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
        # Escapes come in crowds.
        after = _end(_text, buffer, escape)
        if after == escape and (is_last or len(buffer) - escape >= _CHAR_BYTES):
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
            room = self._most_captured + 1 - len(self._captured)
            self._captured += buffer[start : min(end, start + room)]

    def _end_string(self) -> None:
        captured, self._captured = self._captured, None
        is_whole = captured is not None and len(captured) <= self._most_captured
        if self._is_name:
            if captured is not None:
                self._is_wanted = is_whole and self._is_field(bytes(captured))
            self._state = _COLON
            return
        if captured is not None:
            text = orjson.loads(b'"%b"' % bytes(captured)) if is_whole else ""
            self._found(text if is_whole and len(text) <= KEY_CHARS else OVERLONG)
        self._end_value()

    def _is_field(self, name: bytes) -> bool:
        if len(name) > self._longest_name:
            return False
        return bool(orjson.loads(b'"%b"' % name) == self._field)

    # Other values

    def _a_number(self, buffer: bytes, at: int, *, is_last: bool) -> int:
        end = _end(_digits, buffer, at)
        if end - at > NUMBER_BYTES:
            message = f"a number has more than {NUMBER_BYTES:,} digits"
            raise self._malformed(buffer, at, message)
        if end == len(buffer) and not is_last:
            return at
        digits = buffer[at:end]
        if _number.fullmatch(digits) is None:
            raise self._malformed(buffer, at, "there is no such number")
        if math.isinf(float(digits)):
            raise self._malformed(buffer, at, "a number is beyond a double")
        if self._is_wanted:
            self._found(OVERLONG if end - at > KEY_CHARS else orjson.loads(digits))
        self._end_value()
        return end

    def _found(self, value: object) -> None:
        """Take note of a value that begins here, if it is the wanted one: the last one counts."""
        if self._is_wanted:
            self.value = value
            self._is_wanted = False

    def _unexpected(self, buffer: bytes, at: int) -> MalformedError:
        wanted = {
            _VALUE_DUE: "a value",
            _FIRST_ITEM: "a value or the end of the array",
            _FIRST_NAME: "a name or the end of the object",
            _NAME: "a name",
            _COLON: "a colon",
            _AFTER: "a comma or an end",
            _DONE: "nothing more",
        }[self._state]
        return self._malformed(buffer, at, f"{wanted} was expected")

    def _malformed(self, buffer: bytes, at: int, message: str) -> MalformedError:
        return MalformedError("bad_json", self._fed - len(buffer) + at + 1, message)


def _end(pattern: re.Pattern[bytes], buffer: bytes, at: int) -> int:
    """Return where the longest match ends; the pattern matches nothing, too, or the first byte."""
    found = pattern.match(buffer, at)
    assert found is not None
    return found.end()
