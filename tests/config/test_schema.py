"""The JSON Schema accepts what the models accept, and describes every key."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dispatcher.config.schema import config_schema

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("name", ["quickstart.yaml", "worker.yaml"])
def test_the_schema_accepts_what_is_shipped(name: str) -> None:
    document = yaml.safe_load((CONFIGS / name).read_text())
    assert list(complaints(document, config_schema(), config_schema())) == []


@pytest.mark.parametrize(
    "document",
    [
        {"endpoint": "a"},
        {"endpoint": "a", "source": {"path": "x"}, "stageing": {}},
        {"endpoint": "a", "source": {"path": 5}},
        {"endpoint": "a", "source": {"path": "x", "compression": "lz4"}},
        {"endpoint": "a", "source": {"path": "x"}, "limits": {"concurrency": "many"}},
        {"endpoint": "a", "source": {"path": "x"}, "limits": {"concurrency": 0}},
        {"endpoint": {"name": "-"}, "source": {"path": "x"}},
    ],
)
def test_the_schema_refuses_what_the_models_refuse(document: Any) -> None:
    assert list(complaints(document, config_schema(), config_schema()))


def test_the_schema_is_json_and_describes_every_key() -> None:
    schema = json.loads(json.dumps(config_schema()))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    sections = [schema, *(part for part in schema["$defs"].values() if "properties" in part)]
    for section in sections:
        for key, part in section["properties"].items():
            described = "description" in part or "$ref" in part
            assert described, key


def complaints(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    """Check a value against the part of JSON Schema that the schema makes use of."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from complaints(value, root["$defs"][name], root)
    if "anyOf" in schema and not any(
        not list(complaints(value, choice, root)) for choice in schema["anyOf"]
    ):
        yield f"{value!r} matches no choice"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{value!r} is not in {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{value!r} is not {schema['const']}"
    types: dict[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    kind = schema.get("type")
    if kind and (
        not isinstance(value, types[kind])
        or (isinstance(value, bool) and kind in ("integer", "number"))
    ):
        yield f"{value!r} is no {kind}"
        return
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{value!r} does not match {schema['pattern']}"
    if isinstance(value, int) and value < schema.get("minimum", value):
        yield f"{value} is too small"
    if isinstance(value, list) and "items" in schema:
        for item in value:
            yield from complaints(item, schema["items"], root)
    if isinstance(value, dict):
        for key in schema.get("required", []):
            if key not in value:
                yield f"{key} is missing"
        for key, inner in value.items():
            if key in schema.get("properties", {}):
                yield from complaints(inner, schema["properties"][key], root)
            elif schema.get("additionalProperties") is False:
                yield f"{key} is unknown"
