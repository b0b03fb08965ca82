"""The split of a response to several records into one output for each."""

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, TypeAlias

import orjson

from dispatcher.config.packing import AnswerSettings, PackingSettings
from dispatcher.flow.decompression import DamagedError, decoder
from dispatcher.packing import json_slices, msgpack_slices
from dispatcher.packing.json_slices import NothingThereError, NotJsonError
from dispatcher.packing.msgpack_slices import NotMsgpackError
from dispatcher.reasons import Reason
from dispatcher.records.record import Key

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
_MSGPACK_TYPES = frozenset(
    {"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"}
)
_MAX_EXCESS = 1_000
"""Surplus outputs that are counted for the message; counting more would take memory and time."""

_HINT = " (an object; a list in it is named by packing.answer.list)"
_LINES_HINT = (
    "; if the line of each record is one output, also where it is an array, set "
    "packing.answer.framing to lines"
)

_EXPECTED = {
    "auto": "neither JSON nor JSON lines",
    "lines": "not JSON lines, as packing.answer.framing has it",
    "array": "no JSON array, as packing.answer.framing has it",
}
_KINDS = ((dict, "an object"), (list, "an array"), (bytes, "bytes"))
_ABSENT = object()

_SHOWN_CHARS = 100


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A response that does not give every record its output; the invocation is split.

    Attributes:
        reason: ``COUNT_MISMATCH``: a wrong number of outputs. ``BAD_ANSWER``: not readable.
            ``ID_MISMATCH``: outputs that do not name the records of the request, each once.
            ``OUTPUT_TOO_LARGE``: too large when decompressed.
        message: A sentence for the user.
    """

    reason: Reason
    message: str


@dataclass(slots=True)
class Outputs:
    """One output for each record, in order.

    Attributes:
        values: Slices of the response; those of MessagePack as JSON where that is exact.
        are_json: Each is known to be one JSON value.
        content_type: MIME type of those that are not JSON, or None where the container gave none.
    """

    values: list[bytes]
    are_json: bool
    content_type: str | None = None


class _TooLargeError(ValueError):
    """Content beyond the limit."""


_Reader: TypeAlias = Callable[[bytes], Iterator[bytes]]


def split(
    body: bytes,
    content_type: str | None,
    keys: Sequence[Key],
    settings: PackingSettings,
    *,
    max_bytes: int,
) -> Outputs | Mismatch:
    """Split a response into one output a record, by position or by the records' keys.

    Outputs are slices of the response, so numbers keep their digits. The content type says how to
    read it: as JSON lines, as MessagePack, or as one JSON document. The elements of an array, or of
    the list that ``answer.list`` points to, are the outputs; any other value is one output.
    ``text/...`` is read as a document, else as lines of any text; all else as a document, else as
    JSON lines (which many containers label as JSON). The first of these that can be read decides;
    a wrong number of outputs is never guessed at. ``answer.framing`` takes the place of these
    rules. With a parameter ``encoding=gzip`` or ``encoding=zstd`` it is decompressed first.

    Args:
        body: The response, verbatim.
        content_type: MIME type that the container gave it; None where it gave none.
        keys: The keys of the records in the request, in order.
        settings: The framing of the request, and the settings of the response; with the framing
            ``none`` and no settings of the response, the whole response is the output.
        max_bytes: Largest size of a compressed response when it is decompressed.
    """
    compression, content_type = _uncompressed_type(content_type)
    if compression is not None:
        try:
            body = b"".join(_decompressed(body, compression, max_bytes))
        except DamagedError as error:
            return Mismatch(
                Reason.BAD_ANSWER, f"the answer is labelled encoding={compression}: {error}"
            )
        except _TooLargeError:
            return Mismatch(
                Reason.OUTPUT_TOO_LARGE,
                f"the answer of {len(body):,} bytes has more than completion.max_output "
                f"({max_bytes:,}) when decompressed",
            )
    kind = _kind(content_type)
    if settings.framing == "none" and settings.answer == AnswerSettings():
        return (
            _converted([body], content_type)
            if kind in _MSGPACK_TYPES
            else Outputs([body], are_json=False, content_type=content_type)
        )
    is_msgpack = kind in _MSGPACK_TYPES and settings.answer.framing != "lines"
    if is_msgpack:
        found = _of_msgpack(body, len(keys), settings.answer)
    else:
        found = _of_text(body.removeprefix(BOM_UTF8), content_type, len(keys), settings)
    if isinstance(found, Outputs) and settings.answer.id is not None:
        found = _in_order(found, keys, settings, is_msgpack=is_msgpack)
    if isinstance(found, Outputs) and is_msgpack:
        return _converted(found.values, content_type)
    return found


def decompressed_size(body: bytes, content_type: str | None, max_bytes: int) -> int:
    """Return the bytes that ``split`` allocates to decompress a response; 0 where it is plain.

    Args:
        body: The response, verbatim.
        content_type: Its MIME type.
        max_bytes: As ``split`` takes it; the result is no larger.
    """
    compression, _ = _uncompressed_type(content_type)
    if compression is None:
        return 0
    try:
        return sum(map(len, _decompressed(body, compression, max_bytes)))
    except (DamagedError, _TooLargeError):
        return 0  # split refuses it


def _decompressed(
    body: bytes, compression: Literal["gzip", "zstd"], max_bytes: int
) -> Iterator[bytes]:
    read, size = decoder(compression), 0
    for content in chain(read.feed(body), read.end()):
        size += len(content)
        if size > max_bytes:
            raise _TooLargeError
        yield content


def _uncompressed_type(
    content_type: str | None,
) -> tuple[Literal["gzip", "zstd"] | None, str | None]:
    """Return the compression that a MIME type names, and the type of the content inside."""
    if content_type is None or ";" not in content_type:
        return None, content_type
    compression: Literal["gzip", "zstd"] | None = None
    kind, *parameters = content_type.split(";")
    remaining = [kind.strip()]
    for parameter in parameters:
        match parameter.replace('"', "").replace(" ", "").lower():
            case "encoding=gzip":
                compression = "gzip"
            case "encoding=zstd":
                compression = "zstd"
            case _:
                remaining.append(parameter.strip())
    return compression, content_type if compression is None else "; ".join(remaining)


def _kind(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _of_msgpack(body: bytes, count: int, answer: AnswerSettings) -> Outputs | Mismatch:
    try:
        place = msgpack_slices.at(body, answer.list)
        if place is None:
            return _missing_list(answer.list)
    except NotMsgpackError as error:
        return Mismatch(Reason.BAD_ANSWER, f"the answer is not MessagePack: {error}")
    if answer.framing == "array" and not msgpack_slices.is_array(place):
        where = f"the value at {answer.list} in it" if answer.list else "the answer"
        return Mismatch(
            Reason.BAD_ANSWER, f"{where} is no MessagePack array, as packing.answer.framing has it"
        )
    values, found = msgpack_slices.elements(place, count)
    return Outputs(values, are_json=False) if found == count else _miscounted(found, count)


def _converted(values: list[bytes], content_type: str | None) -> Outputs:
    """Return outputs of MessagePack as JSON, or as they are where JSON would not be exact.

    The latter cannot be mistaken for JSON, as they do not begin with ASCII.
    """
    found = [msgpack_slices.as_json(value) for value in values]
    return Outputs(
        [value if text is None else text for value, text in zip(values, found, strict=True)],
        are_json=None not in found,
        content_type=content_type,
    )


def _of_text(
    body: bytes, content_type: str | None, count: int, settings: PackingSettings
) -> Outputs | Mismatch:
    pointer, framing = settings.answer.list, settings.answer.framing
    furthest, wrong = -1, ""
    for read in _readers(body, content_type, count, settings):
        values: list[bytes] = []
        found = 0
        try:
            for value in read(body):
                found += 1
                if found <= count:
                    values.append(value)
                elif found == count + _MAX_EXCESS:
                    return _miscounted(found, count, more=" or more")
        except NotJsonError as error:
            if found > furthest:
                furthest, wrong = found, str(error)
            continue
        except NothingThereError:
            return _missing_list(pointer)
        if found == count:
            return Outputs(values, are_json=read is not _text_lines, content_type=content_type)
        is_around = found == 1 and not pointer and body.lstrip().startswith(b"{")
        is_either = count == 1 and not pointer and framing == "auto" and _is_one_array_line(body)
        hint = _LINES_HINT if is_either else ""
        return _miscounted(found, count, more=_HINT if is_around else "", hint=hint)
    if (code := json.detect_encoding(body[:4])) != "utf-8":
        wrong = f"it begins like {code[:6].upper()}, and JSON is UTF-8"
    elif furthest > 0:
        wrong = f"after {_counted(furthest, 'output')}, {wrong}"
    return Mismatch(
        Reason.BAD_ANSWER,
        f"the answer to {_counted(count, 'record')} ({content_type or 'without a content type'}, "
        f"{len(body)} bytes) is {_EXPECTED[framing]}: {wrong}",
    )


def _is_one_array_line(body: bytes) -> bool:
    line = body.strip()
    return line.startswith(b"[") and b"\n" not in line


def _readers(
    body: bytes, content_type: str | None, count: int, settings: PackingSettings
) -> Sequence[_Reader]:
    """Return the ways to read a response, in the order to try them."""
    kind, pointer, framing = _kind(content_type), settings.answer.list, settings.answer.framing

    def document(body: bytes) -> Iterator[bytes]:
        found = json_slices.at(body, pointer)
        if framing == "array" and not found.startswith(b"["):
            where = f"the value at {pointer}" if pointer else "it"
            hint = _HINT if not pointer and found.startswith(b"{") else ""
            raise NotJsonError(f"{where} does not begin with [{hint}")
        return json_slices.elements(found)

    if pointer or framing == "array":
        return [document]
    if kind in _LINES_TYPES:
        return [_json_lines]
    # An output that names its record is an object.
    is_any_text = kind.startswith("text/") and settings.answer.id is None
    as_lines: _Reader = _text_lines if is_any_text else _json_lines
    if framing == "lines":
        return [as_lines]
    is_labelled = kind == "application/json" or kind.endswith("+json")
    is_one_line = settings.framing == "lines" and count == 1 and b"\n" not in body.strip()
    if is_one_line and not is_labelled and settings.answer.id is None:
        # One line in, one line out: it may hold an array of its own.
        return [as_lines, document]
    return [document, as_lines]


def _json_lines(body: bytes) -> Iterator[bytes]:
    for line in _lines(body):
        if value := line.strip():
            json_slices.check(value)
            yield value


def _text_lines(body: bytes) -> Iterator[bytes]:
    # Any text is an output, even an empty line; the last break begins no further line.
    return (line.removesuffix(b"\r") for line in _lines(body))


def _lines(body: bytes) -> Iterator[bytes]:
    start = 0
    while (end := body.find(b"\n", start)) >= 0:
        yield body[start:end]
        start = end + 1
    if start < len(body):
        yield body[start:]


def _in_order(
    outputs: Outputs, keys: Sequence[Key], settings: PackingSettings, *, is_msgpack: bool
) -> Outputs | Mismatch:
    """Return the outputs in the order of their records."""
    field = settings.answer.id
    assert field is not None, "the caller checks that outputs name their records"
    wanted = {str(key): index for index, key in enumerate(keys)}
    if len(wanted) < len(keys):
        return Mismatch(Reason.ID_MISMATCH, "two records of the request have the same key")
    ordered: list[bytes | None] = [None] * len(keys)
    for value in outputs.values:
        found = _field(value, field, is_msgpack=is_msgpack)
        if not isinstance(found, str | int) or isinstance(found, bool):
            return Mismatch(Reason.ID_MISMATCH, _bad_id_message(found, field, settings))
        index = wanted.get(str(found))
        if index is None or ordered[index] is not None:
            wrong = "of no record of the request" if index is None else "of another output, too"
            shown = repr(found)[:_SHOWN_CHARS]
            return Mismatch(
                Reason.ID_MISMATCH, f"the field {field!r} of an output is {shown}, {wrong}"
            )
        ordered[index] = value
    values = [value for value in ordered if value is not None]
    return Outputs(values, are_json=outputs.are_json, content_type=outputs.content_type)


def _field(value: bytes, field: str, *, is_msgpack: bool) -> object:
    if is_msgpack:
        return msgpack_slices.member(value, field, _ABSENT)
    document = orjson.loads(value)
    return document.get(field, _ABSENT) if isinstance(document, dict) else _ABSENT


def _bad_id_message(found: object, field: str, settings: PackingSettings) -> str:
    """Return why the content of an output's field is not the key of a record."""
    if found is _ABSENT:
        sent = "; is it among what packing.select sends?" if settings.select is not None else ""
        return (
            f"an output has no field {field!r} that holds its record's key, which "
            f"packing.answer.id names{sent}"
        )
    if found is None or isinstance(found, bool | float):
        shown = json.dumps(found)
    else:
        shown = next((name for kind, name in _KINDS if isinstance(found, kind)), "no JSON")
    return (
        f"the field {field!r} of an output, which packing.answer.id names, is {shown}; the key of "
        "a record is text or a whole number"
    )


def _miscounted(found: int, count: int, *, more: str = "", hint: str = "") -> Mismatch:
    return Mismatch(
        Reason.COUNT_MISMATCH,
        f"the answer holds {_counted(found, 'output')}{more} for {_counted(count, 'record')}{hint}",
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _missing_list(pointer: str) -> Mismatch:
    return Mismatch(
        Reason.BAD_ANSWER, f"the answer has nothing at {pointer}, where packing.answer.list points"
    )
