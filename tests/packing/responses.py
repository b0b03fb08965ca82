"""Responses of a container, and their split."""

from collections.abc import Sequence
from typing import Any

import msgpack
from hypothesis import strategies as st

from dispatcher.config.packing import Framing
from dispatcher.packing.response_split import Mismatch, Outputs, split
from dispatcher.records.record import Key
from tests.payloads import packing

JSON, LINES, MSGPACK = "application/json", "application/jsonlines", "application/msgpack"


documents = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8"), max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", '"', "],"]), inner)
    ),
    max_leaves=12,
)


def msgpack_of(*values: object) -> bytes:
    packed: bytes = msgpack.packb(list(values))
    return packed


def answered(
    body: bytes,
    kind: str | None,
    keys: Sequence[Key],
    framing: Framing = "json-array",
    *,
    max_bytes: int = 10_000,
    framing_: str | None = None,
    **answer: Any,
) -> Outputs | Mismatch:
    forms: dict[str, Any] = {"encodings": ["msgpack"]} if framing == "msgpack-array" else {}
    if framing_ is not None:
        answer["framing"] = framing_
    return split(body, kind, keys, packing(framing, answer=answer, **forms), max_bytes=max_bytes)


def values(outputs: Outputs | Mismatch) -> list[bytes]:
    assert isinstance(outputs, Outputs), outputs
    return outputs.values


def reason(outputs: Outputs | Mismatch) -> str:
    assert isinstance(outputs, Mismatch), outputs
    assert outputs.message
    return outputs.reason
