"""Alternatives to the configured packing, for a trial on the same records; pure.

An alternative should ask little of the container: its level says how much, and a higher level has
to save enough to be worth it.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import orjson
from pydantic import ValidationError

from dispatcher import limits
from dispatcher.config.packing import Encoding, Framing, PackingSettings
from dispatcher.packing.codec import format_of
from dispatcher.records.record import LargeRecord, Record

MANY_RECORDS = 1_000
"""Records a request from which more would save nothing: a request costs each a thousandth."""

_SAMPLE_RECORDS = 20
_MIN_BASE64_CHARS = 1_000
_OTHER_FRAMINGS: Mapping[Framing, tuple[tuple[Framing, Encoding], ...]] = {
    "none": (
        ("lines", "json"),
        ("lines", "json+zstd"),
        ("msgpack-array", "msgpack"),
        ("msgpack-array", "msgpack+zstd"),
    ),
    "lines": (("msgpack-array", "msgpack"), ("msgpack-array", "msgpack+zstd")),
    "json-array": (("msgpack-array", "msgpack"), ("msgpack-array", "msgpack+zstd")),
    "template": (("msgpack-array", "msgpack"), ("msgpack-array", "msgpack+zstd")),
    "msgpack-array": (),
}
"""Other framings to try, by the configured one."""

_KEYS = ("framing", "template", "encodings", "select", "max_records", "max_bytes")
"""The order in which changed keys are listed."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to pack.

    Attributes:
        packing: Its section ``packing``.
        level: 0: the container sees the same as now, 1: another framing or another part of the
            record, 2: another encoding.
        changes: The keys of the configuration that differ, with their values.
    """

    packing: PackingSettings
    level: int = 0
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def framed(self) -> str:
        """Return the framing with its bound, in a few words; empty for one record a request."""
        packing = self.packing
        return "" if packing.framing == "none" else f"{packing.framing} of {packing.max_records:,}"

    @property
    def encoded(self) -> str:
        """Return the encodings in a few words."""
        return " or ".join(self.packing.encodings)

    @property
    def unwraps(self) -> bool:
        """True if it sends the bytes that base64 text of the record encodes."""
        return "packing.select" in self.changes


def alternatives(
    packing: PackingSettings, base64_name: str | None, content_type: str | None
) -> list[Alternative]:
    """Return the alternatives to try; the first is the configured packing.

    Args:
        packing: The configured section ``packing``.
        base64_name: The field whose base64 text could be sent as the bytes it encodes; None: no
            such field.
        content_type: The configured ``request.content_type``.
    """
    found: dict[str, Alternative] = {}
    for changes in _changes(packing, base64_name):
        alternative = _alternative(packing, changes, content_type)
        if alternative is not None:
            found.setdefault(alternative.packing.model_dump_json(), alternative)
    return list(found.values())


def _changes(packing: PackingSettings, base64_name: str | None) -> Iterator[dict[str, Any]]:
    yield {}
    for encoding in get_args(Encoding):
        yield {"encodings": [encoding]}
    full = {
        "max_records": max(packing.max_records, MANY_RECORDS),
        "max_bytes": limits.INLINE_BODY_BYTES,
    }
    if packing.framing != "none":
        yield full
        for encoding in get_args(Encoding):
            if not encoding.endswith("gzip"):
                yield {**full, "encodings": [encoding]}
    for framing, encoding in _OTHER_FRAMINGS[packing.framing]:
        yield {**full, "framing": framing, "encodings": [encoding], "template": None}
    if base64_name is not None and packing.select is None:
        yield {
            "framing": "none",
            "template": None,
            "encodings": ["raw"],
            "select": f"{{base64: {_identifier(base64_name)}}}",
            "max_records": 1,
        }


def _identifier(name: str) -> str:
    """Write the name of a field as JMESPath does."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else orjson.dumps(name).decode()


def _alternative(
    packing: PackingSettings, changes: dict[str, Any], content_type: str | None
) -> Alternative | None:
    """Return the packing with these changes; None where they do not fit the configuration."""
    changes = {
        key: changes[key]
        for key in _KEYS
        if key in changes and getattr(packing, key) != changes[key]
    }
    if packing.select is None and changes.get("encodings") == ["raw"] and "select" not in changes:
        # Records are JSON: without a select they have no bytes to send raw.
        return None
    types = packing.content_types
    remaining_types = {
        key: types[key] for key in types if key in changes.get("encodings", packing.encodings)
    }
    if remaining_types != types:
        changes["content_types"] = remaining_types
    try:
        settings = PackingSettings.model_validate({**packing.model_dump(), **changes})
    except ValidationError:
        return None
    level = 1 if {"framing", "select"} & changes.keys() else 0
    if "encodings" in changes and "select" not in changes and changes["encodings"] != ["json"]:
        level = 2
    changed_keys: dict[str, Any] = {f"packing.{key}": value for key, value in changes.items()}
    if content_type is not None and _payload_kind(settings) != _payload_kind(packing):
        # It names the type of the present payloads.
        changed_keys["request.content_type"] = None
    return Alternative(settings, level, changed_keys)


def _payload_kind(packing: PackingSettings) -> tuple[str, str]:
    return packing.framing, format_of(packing.encodings[0])


def base64_field(records: Sequence[Record | LargeRecord]) -> str | None:
    """Return the one field that holds long base64 text in all of the first records, if any does.

    Args:
        records: The first ones of the input.
    """
    common: set[str] | None = None
    for record in _in_memory(records):
        try:
            value = orjson.loads(record.raw)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(value, dict):
            return None
        fields = {name for name, text in value.items() if _is_base64(text)}
        common = fields if common is None else common & fields
        if not common:
            return None
    return common.pop() if common is not None and len(common) == 1 else None


def _in_memory(records: Sequence[Record | LargeRecord]) -> Iterable[Record]:
    return [record for record in records[:_SAMPLE_RECORDS] if isinstance(record, Record)]


def _is_base64(text: object) -> bool:
    if not isinstance(text, str) or len(text) < _MIN_BASE64_CHARS:
        return False
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
