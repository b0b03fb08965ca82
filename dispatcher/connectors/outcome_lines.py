"""Outcomes as lines of JSON: what the container answered, verbatim wherever it is JSON."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import orjson

from dispatcher.flow.content import ChangedError, FileSlice
from dispatcher.ledger.outcome import Meta, Outcome
from dispatcher.records.json_scanner import JsonScanner, MalformedError
from dispatcher.records.record import Key

DEEPEST = 500
"""Most levels of nesting of a value that is embedded as JSON.

JSON has no limit, its readers do: Python's ``json`` stops at the recursion limit (1,000, less what
the caller uses), ``orjson`` at 1,024. A deeper value is written as base64.
"""

_NEWLINE, _RETURN = 0x0A, 0x0D  # searched as numbers: some times faster than as bytes
_ON_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def result_line(outcome: Outcome, join: Literal["output", "input", "both"], *, meta: bool) -> bytes:
    """Return the result line of a completed record, without a line break.

    Args:
        outcome: Completed; with its ``input`` unless ``join`` is ``output``. One that is a blob
            takes ``in_pieces``.
        join: Which of input and output the line carries.
        meta: Whether it also tells how the record travelled.
    """
    output = b"" if join == "input" else _output(outcome)
    if join == "output" and not meta:  # nearly all lines are these, and hundreds a parcel
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


def in_pieces(outcome: Outcome, render: Callable[[Outcome], bytes]) -> Iterator[bytes]:
    """Yield the line of an outcome whose input is a blob, without a line break.

    Args:
        outcome: Its ``input`` is a blob.
        render: Makes a line of an outcome whose input is in memory.

    Raises:
        ChangedError: The blob cannot be read as it was.
    """
    blob = outcome.input
    assert isinstance(blob, FileSlice)
    # Where two lines of one outcome begin to differ, there is its input.
    without, other = (render(replace(outcome, input=raw)) for raw in (None, b"0"))
    at = _first_difference(without, other)
    del other  # its output may be large, too
    yield without[:at]
    if at < len(without):
        try:
            yield from _value_in_pieces(blob)
        except OSError as error:
            raise ChangedError(error.strerror) from error
        yield without[at + len(b"null") :]


def _first_difference(one: bytes, other: bytes) -> int:
    same, most = 0, min(len(one), len(other))
    while same < most:
        middle = (same + most + 1) // 2
        if one.startswith(memoryview(other)[same:middle], same):
            same = middle
        else:
            most = middle - 1
    return same


def _value_in_pieces(blob: FileSlice) -> Iterator[bytes]:
    if _is_embeddable(blob):
        for chunk in blob.chunks():
            yield chunk.translate(_ON_ONE_LINE) if _has_breaks(chunk) else chunk
        return
    yield b'{"base64":"'
    rest = b""
    for chunk in blob.chunks():
        data = rest + chunk
        whole = len(data) - len(data) % 3
        yield base64.b64encode(memoryview(data)[:whole])
        rest = data[whole:]
    yield base64.b64encode(rest) + b'"}'


def _is_embeddable(blob: FileSlice) -> bool:
    scanner = JsonScanner(max_depth=DEEPEST)
    try:
        for chunk in blob.chunks():
            scanner.feed(chunk)
        scanner.end()
    except MalformedError:
        return False
    return True


def _input(raw: bytes | FileSlice | None) -> bytes:
    if raw is None:
        return b"null"
    assert isinstance(raw, bytes), "a large input is written in pieces"
    if embeddable(raw):
        return _on_one_line(raw)
    return orjson.dumps({"base64": base64.b64encode(raw).decode()})


def _output(outcome: Outcome) -> bytes:
    body = outcome.output or b""
    if embeddable(body, is_json=outcome.is_json):
        return _on_one_line(body)
    content = base64.b64encode(body).decode()
    return b'{"base64":"%b","content_type":%b}' % (
        content.encode(),
        b"null" if outcome.output_type is None else _text(outcome.output_type),
    )


def embeddable(text: bytes, *, is_json: bool = False) -> bool:
    """Return whether text can stand in a line as it is: any JSON reader takes it for one value.

    Args:
        text: Bytes of anything.
        is_json: They are known to be one JSON value.
    """
    try:
        if not is_json:
            orjson.loads(text)
        # Every level takes two bytes, so most values need no closer look.
        if len(text) > 2 * DEEPEST and text.count(b"[") + text.count(b"{") > DEEPEST:
            around = 1024 - DEEPEST
            orjson.loads(b"[" * around + text + b"]" * around)
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
        # Half of a surrogate pair, as in names of files that are not UTF-8.
        return orjson.dumps(str(value).encode("utf-8", "replace").decode())


def _meta(meta: Meta | None, attempts: int) -> bytes:
    return b"null" if meta is None else orjson.dumps(meta.document(attempts))
