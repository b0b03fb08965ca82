"""The built-in model ``text-stats``: statistics of the text in JSON records."""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgpack
import orjson
import zstandard

from dispatcher.emulator.models.model import ModelError, ModelRequest, ModelResponse

_PUNCTUATION = ".,;:!?\"'()[]{}<>\N{HORIZONTAL ELLIPSIS}\N{EM DASH}"
_QUOTES = "\"')]}"
_ENDS = (".", "!", "?", "\N{HORIZONTAL ELLIPSIS}")
_LINE_TYPES = {"application/jsonlines", "application/x-jsonlines", "application/x-ndjson"}

_MSGPACK_TYPES = {"application/msgpack", "application/x-msgpack"}


def text_stats(request: ModelRequest) -> ModelResponse:
    """Return one object a record, in the framing of the request.

    An array of JSON or MessagePack, or JSON lines, hold one record an item; any other value is one
    record. All texts in a record count, however deep.

    Raises:
        ModelError: 400 where the body is not what its content type says, 415 where it is encoded in
            another way.
    """
    media_type, _, parameters = (request.content_type or "application/json").partition(";")
    media_type = media_type.strip().lower()
    try:
        body = _decompressed(request.body, parameters)
        if media_type in _LINE_TYPES:
            lines = [line for line in body.split(b"\n") if line.strip()]
            outputs = [orjson.dumps(stats(orjson.loads(line))) for line in lines]
            return ModelResponse(b"".join(output + b"\n" for output in outputs), media_type)
        value = msgpack.unpackb(body) if media_type in _MSGPACK_TYPES else orjson.loads(body)
    except (ValueError, OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise ModelError(
            400, f"text-stats: the body is not {request.content_type}: {error}"
        ) from error
    result = [stats(v) for v in value] if isinstance(value, list) else stats(value)
    return ModelResponse(orjson.dumps(result), "application/json")


def _decompressed(body: bytes, parameters: str) -> bytes:
    """Return a body without its compression."""
    encoding = re.search(r"encoding=([^;\s]*)", parameters.lower())
    if encoding is None:
        return body
    match encoding[1]:
        case "gzip":
            return gzip.decompress(body)
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
        case other:
            raise ModelError(415, f"text-stats reads gzip and zstd, not {other}")


def stats(record: Any) -> dict[str, Any]:
    """Return the statistics of one decoded record."""
    characters = words = sentences = 0
    distinct: set[str] = set()
    for text in _texts(record):
        # Few words are distinct: only those are looked at one by one.
        counts = Counter(text.split())
        characters += len(text)
        words += counts.total()
        distinct.update(word.strip(_PUNCTUATION).casefold() for word in counts)
        ends = sum(n for word, n in counts.items() if word.rstrip(_QUOTES).endswith(_ENDS))
        sentences += ends or bool(counts)
    distinct.discard("")
    return {
        "characters": characters,
        "words": words,
        "distinct_words": len(distinct),
        "sentences": sentences,
        "longest_word": max(sorted(distinct), key=len, default=""),
    }


def _texts(value: Any) -> Iterator[str]:
    # A stack instead of recursion: depth is the input's choice.
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, str):
            yield top
        elif isinstance(top, dict):
            stack.extend(reversed(top.values()))
        elif isinstance(top, list):
            stack.extend(reversed(top))
