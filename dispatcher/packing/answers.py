"""The way back: an answer to several records is split into one output each."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import orjson

from dispatcher.config.packing import PackingSettings
from dispatcher.sources.record import Key

MismatchReason: TypeAlias = Literal["count_mismatch", "bad_answer"]

_LINES_TYPES = frozenset(
    {
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
        "application/jsonl",
        "application/x-ndjson",
        "application/ndjson",
    }
)
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_INSIDE = rb'[^{}\[\]"]*+'
# A string, an array or object that holds no other, or one character of structure.
_TOKEN = re.compile(
    rb"%b|[\[{]%b(?:%b%b)*+[\]}]|[\[\]{},]" % (_STRING, _INSIDE, _STRING, _INSIDE), re.DOTALL
)
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An answer that does not give every record its output; the parcel is to be bisected.

    Attributes:
        reason: ``count_mismatch``: a wrong number of outputs. ``bad_answer``: not readable.
        message: A sentence for the user.
    """

    reason: MismatchReason
    message: str


@dataclass(slots=True)
class Outputs:
    """One output for each record, in order.

    Attributes:
        values: Slices of the answer.
        are_json: Each is known to be one JSON value.
    """

    values: list[bytes]
    are_json: bool


def split(
    body: bytes, content_type: str | None, keys: Sequence[Key], settings: PackingSettings
) -> Outputs | Mismatch:
    """Split an answer into one output a record, by position.

    Outputs are slices of the answer, so numbers keep their digits. The content type says how to
    read it: as JSON lines, or as one JSON document, whose elements are the outputs if it is an
    array, and which is one output if not. ``text/...`` is read as a document, else as lines of any
    text; all else as a document, else as JSON lines (which many containers label as JSON). The
    first of these that can be read decides; an answer of the wrong length is never guessed at.

    Args:
        body: The answer, verbatim.
        content_type: MIME type that the container gave it; None where it gave none.
        keys: The keys of the records in the request, in order.
        settings: How the request was framed; with ``none`` the whole answer is the output.
    """
    count, framing = len(keys), settings.framing
    if framing == "none":
        return Outputs([body], are_json=False)
    kind = (content_type or "").partition(";")[0].strip().lower()
    as_lines: Callable[[bytes], list[bytes] | None]
    as_lines = _text_lines if kind.startswith("text/") else _json_lines
    labelled = kind == "application/json" or kind.endswith("+json")
    readers: list[Callable[[bytes], list[bytes] | None]]
    if kind in _LINES_TYPES:
        readers = [_json_lines]
    elif framing == "lines" and count == 1 and not labelled and b"\n" not in body.strip():
        # One line in, one line out: it may hold an array of its own.
        readers = [as_lines, _document]
    else:
        readers = [_document, as_lines]
    for read in readers:
        outputs = read(body)
        if outputs is None:
            continue
        if len(outputs) == count:
            return Outputs(outputs, are_json=read is not _text_lines)
        return Mismatch(
            "count_mismatch", f"the answer holds {len(outputs)} outputs for {count} records"
        )
    return Mismatch(
        "bad_answer",
        f"the answer to {count} records ({content_type or 'without a content type'}, "
        f"{len(body)} bytes) is neither JSON nor JSON lines",
    )


def _document(body: bytes) -> list[bytes] | None:
    if not _is_json(body):
        return None
    body = body.strip()
    if not body.startswith(b"["):
        return [body]
    # The document is valid, so brackets and commas outside of strings tell its structure.
    outputs = []
    depth = 0
    start = 1
    for token in _TOKEN.finditer(body, 1, len(body) - 1):
        at, end = token.span()
        if end - at > 1:
            continue
        mark = body[at]
        if mark in _OPENING:
            depth += 1
        elif mark in _CLOSING:
            depth -= 1
        elif depth == 0:
            outputs.append(body[start:at].strip())
            start = end
    last = body[start:-1].strip()
    return [*outputs, last] if last else outputs


def _json_lines(body: bytes) -> list[bytes] | None:
    lines = [line for raw in body.split(b"\n") if (line := raw.strip())]
    try:
        for line in lines:
            orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return lines


def _text_lines(body: bytes) -> list[bytes]:
    # Any text goes, and an empty line may be an output; only the last break is none.
    lines = body.split(b"\n")
    if not lines[-1]:
        del lines[-1]
    return [line.removesuffix(b"\r") for line in lines]


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
