"""Outcomes as lines of JSON: what the container answered, verbatim wherever it is JSON."""

import base64
from typing import Literal

import orjson

from dispatcher.ledger.outcome import Meta, Outcome
from dispatcher.sources.record import Key

DEEPEST = 500
"""Most levels of nesting of a value that is embedded as JSON.

JSON has no limit, its readers do: Python's ``json`` stops at the recursion limit (1,000, less what
the caller uses), ``orjson`` at 1,024. A deeper value is written as base64.
"""


def result_line(outcome: Outcome, join: Literal["output", "input", "both"], *, meta: bool) -> bytes:
    """Return the result line of a completed record, without a line break.

    Args:
        outcome: Completed; with its ``input`` unless ``join`` is ``output``.
        join: Which of input and output the line carries.
        meta: Whether it also tells how the record travelled.
    """
    parts = [b'{"key":', _text(outcome.key), b',"status":', _text(outcome.status)]
    if join != "input":
        parts += (b',"output":', _value(outcome.output or b"", outcome.output_type))
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
            _text(outcome.reason),
            b',"message":',
            _text(outcome.message),
            b',"attempts":',
            orjson.dumps(outcome.attempts),
            b',"input":',
            _input(outcome.input),
            b"}",
        )
    )


def _input(raw: bytes | None) -> bytes:
    if raw is None:
        return b"null"
    if embeddable(raw):
        return _on_one_line(raw)
    return orjson.dumps({"base64": base64.b64encode(raw).decode()})


def _value(body: bytes, content_type: str | None) -> bytes:
    if embeddable(body):
        return _on_one_line(body)
    content = base64.b64encode(body).decode()
    return b'{"base64":"%b","content_type":%b}' % (
        content.encode(),
        b"null" if content_type is None else _text(content_type),
    )


def embeddable(text: bytes) -> bool:
    """Return whether text can stand in a line as it is: any JSON reader takes it for one value."""
    try:
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
    if b"\n" in text or b"\r" in text:
        text = text.replace(b"\n", b" ").replace(b"\r", b" ")
    return text


def _text(value: Key) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # Half of a surrogate pair, as in names of files that are not UTF-8.
        return orjson.dumps(str(value).encode("utf-8", "replace").decode())


def _meta(meta: Meta | None, attempts: int) -> bytes:
    if meta is None:
        return b"null"
    return orjson.dumps(
        {
            "invocation_id": meta.invocation_id,
            "route": meta.route,
            "attempts": attempts,
            "planned": meta.planned,
            "accepted": meta.accepted,
            "settled": meta.settled,
        }
    )
