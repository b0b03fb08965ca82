"""Outcomes as lines of JSON; an output that is JSON stands in them verbatim."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import orjson

from dispatcher.flow.content import ChangedError, FileSlice
from dispatcher.ledger.outcome import Meta, Outcome
from dispatcher.records.json_scanner import JsonScanner, MalformedError
from dispatcher.records.record import Key

MAX_DEPTH = 500
"""Most levels of nesting of a value that is embedded as JSON.

JSON has no limit, but its readers have: Python's ``json`` stops at the recursion limit (1,000,
less what the caller uses), ``orjson`` at 1,024. A deeper value is written as base64.
"""

_NEWLINE, _RETURN = 0x0A, 0x0D  # searched as numbers: several times faster than as bytes
_ON_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def result_line(outcome: Outcome, join: Literal["output", "input", "both"], *, meta: bool) -> bytes:
    """Return the result line of a completed record, without a line break.

    Args:
        outcome: Completed; with its ``input`` unless ``join`` is ``output``. For an input that is
            a slice of a file, use ``line_chunks``.
        join: Which of input and output the line carries.
        meta: Add invocation id, attempts and times.
    """
    output = b"" if join == "input" else _output(outcome)
    if join == "output" and not meta:  # nearly all lines are like this, hundreds a parcel
        return b'{"key":%b,"status":"completed","output":%b}' % (_text(outcome.key), output)
    parts = [b'{"key":', _text(outcome.key), b',"status":', _text(outcome.status)]
    if join != "input":
        parts += (b',"output":', output)
    if join != "output":
        parts += (b',"input":', _input(outcome.input))
    if meta:
        parts += (b',"meta":', _meta(outcome.meta, outcome.attempts))
    parts.append(b"}")
    return b"".join(parts)


def dead_letter_line(outcome: Outcome) -> bytes:
    """Return the dead-letter line of a record that did not complete, without a line break."""
    return b"".join(
        (
            b'{"key":',
            _text(outcome.key),
            b',"status":',
            _text(outcome.status),
            b',"reason":',
            _text(outcome.reason or ""),
            b',"message":',
            _text(outcome.message),
            b',"attempts":',
            orjson.dumps(outcome.attempts),
            b',"input":',
            _input(outcome.input),
            b"}",
        )
    )


def line_chunks(outcome: Outcome, render: Callable[[Outcome], bytes]) -> Iterator[bytes]:
    """Yield the line of an outcome with a large input in chunks, without a line break.

    Args:
        outcome: Its ``input`` is a slice of a file.
        render: Makes a line of an outcome whose input is in memory.

    Raises:
        ChangedError: The slice cannot be read as it was.
    """
    content = outcome.input
    assert isinstance(content, FileSlice)
    # Lines with two different inputs begin to differ where the input stands.
    without, other = (render(replace(outcome, input=raw)) for raw in (None, b"0"))
    at = _first_difference(without, other)
    del other  # it holds the output, which may be large
    yield without[:at]
    if at < len(without):
        try:
            yield from _value_chunks(content)
        except OSError as error:
            raise ChangedError(error.strerror) from error
        yield without[at + len(b"null") :]


def _first_difference(left: bytes, right: bytes) -> int:
    equal, max_equal = 0, min(len(left), len(right))
    while equal < max_equal:
        middle = (equal + max_equal + 1) // 2
        if left.startswith(memoryview(right)[equal:middle], equal):
            equal = middle
        else:
            max_equal = middle - 1
    return equal


def _value_chunks(content: FileSlice) -> Iterator[bytes]:
    if _is_embeddable(content):
        for chunk in content.chunks():
            yield chunk.translate(_ON_ONE_LINE) if _has_breaks(chunk) else chunk
        return
    yield b'{"base64":"'
    rest = b""
    for chunk in content.chunks():
        data = rest + chunk
        whole = len(data) - len(data) % 3
        yield base64.b64encode(memoryview(data)[:whole])
        rest = data[whole:]
    yield base64.b64encode(rest) + b'"}'


def _is_embeddable(content: FileSlice) -> bool:
    scanner = JsonScanner(max_depth=MAX_DEPTH)
    try:
        for chunk in content.chunks():
            scanner.feed(chunk)
        scanner.end()
    except MalformedError:
        return False
    return True


def _input(raw: bytes | FileSlice | None) -> bytes:
    if raw is None:
        return b"null"
    assert isinstance(raw, bytes), "a large input is written in chunks"
    if embeddable(raw):
        return _on_one_line(raw)
    return orjson.dumps({"base64": base64.b64encode(raw).decode()})


def _output(outcome: Outcome) -> bytes:
    body = outcome.output or b""
    if embeddable(body, is_json=outcome.is_json):
        return _on_one_line(body)
    return b'{"base64":"%b","content_type":%b}' % (
        base64.b64encode(body),
        b"null" if outcome.output_type is None else _text(outcome.output_type),
    )


def embeddable(text: bytes, *, is_json: bool = False) -> bool:
    """Return whether text can stand in a line as it is: any JSON reader reads it as one value.

    Args:
        text: Bytes of anything.
        is_json: The text is known to be one JSON value.
    """
    try:
        if not is_json:
            orjson.loads(text)
        # Every level takes two bytes, so most values need no closer look.
        if len(text) > 2 * MAX_DEPTH and text.count(b"[") + text.count(b"{") > MAX_DEPTH:
            levels = 1024 - MAX_DEPTH  # of orjson's own limit
            orjson.loads(b"[" * levels + text + b"]" * levels)
    except orjson.JSONDecodeError:
        return False
    return True


def _on_one_line(text: bytes) -> bytes:
    # Valid JSON has line breaks only between tokens, where a blank means the same.
    text = text.strip()
    return text.translate(_ON_ONE_LINE) if _has_breaks(text) else text


def _has_breaks(text: bytes) -> bool:
    return _NEWLINE in text or _RETURN in text


def _text(value: Key) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # Half of a surrogate pair, as in a file name that is not UTF-8.
        return orjson.dumps(str(value).encode("utf-8", "replace").decode())


def _meta(meta: Meta | None, attempts: int) -> bytes:
    return b"null" if meta is None else orjson.dumps(meta.document(attempts))
