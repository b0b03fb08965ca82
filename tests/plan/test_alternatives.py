"""Alternatives are configurations that can run, and base64 is recognised by its content."""

import base64
import json
from typing import Any

import pytest

from dispatcher.config.packing import PackingSettings
from dispatcher.plan.alternatives import alternatives, base64_field
from dispatcher.records.record import Record
from tests.plan.plans import records


@pytest.mark.parametrize("framing", ["none", "lines", "json-array", "msgpack-array", "template"])
def test_every_alternative_is_a_configuration_that_can_run(framing: str) -> None:
    given_: dict[str, Any] = {"framing": framing}
    if framing == "template":
        given_ |= {"template": '{"instances": [...]}', "answer": {"list": ""}}
    if framing == "msgpack-array":
        given_["encodings"] = ["msgpack"]
    packing = PackingSettings.model_validate(given_)
    found = alternatives(packing, "image", None)
    assert found[0].packing == packing
    assert len({alternative.packing.model_dump_json() for alternative in found}) == len(found)
    for alternative in found[1:]:
        changed = {
            key.removeprefix("packing."): value for key, value in alternative.changes.items()
        }
        assert (
            PackingSettings.model_validate({**packing.model_dump(), **changed})
            == alternative.packing
        )
        if alternative.level == 0:
            assert alternative.packing.framing == framing
            assert alternative.packing.encodings in (packing.encodings, ["json"])


def test_only_a_field_with_base64_in_every_record_is_an_image() -> None:
    long = base64.b64encode(bytes(3_000)).decode()

    def field_of(*values: object) -> str | None:
        items = records([json.dumps(value).encode() for value in values])
        return base64_field([item for item in items if isinstance(item, Record)])

    assert field_of({"id": 1, "image": long}) == "image"
    assert field_of({"image": long}, {"image": long, "also": long}) == "image"
    assert field_of({"image": long}, {"image": "no base64 " * 200}) is None
    assert field_of({"a": long, "b": long}) is None
    assert field_of({"image": "c2hvcnQ="}) is None
    assert field_of([long]) is None
    assert field_of() is None
