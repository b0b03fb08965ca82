"""Payloads as a run would make them."""

from collections.abc import Sequence
from typing import Any

from dispatcher.config.packing import Framing, PackingSettings
from dispatcher.packing.codec import Codec
from dispatcher.packing.framing import frame_of


def packing(framing: Framing = "none", **given: Any) -> PackingSettings:
    max_records = 1 if framing == "none" else 100_000
    if framing == "template":
        given["answer"] = {"list": "", **given.get("answer", {})}
    return PackingSettings(**{"framing": framing, "max_records": max_records, **given})


def codec(framing: Framing = "none", **given: Any) -> Codec:
    return Codec(packing(framing, **given), content_type=None)


def joined(framing: Framing, raws: Sequence[bytes]) -> bytes:
    return frame_of(packing(framing)).join(raws)
