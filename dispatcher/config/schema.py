"""The JSON Schema of the configuration, for editors that complete and check YAML."""

from typing import Any

from dispatcher.config.settings import Config

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = "Interpolated"


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration file.

    Values that are not free text may also be written as ``${VAR}`` or ``${VAR:-default}``; the
    schema allows it, so that editors do not mark them as errors.
    """
    schema = _open_to_references(Config.model_json_schema(mode="validation"))
    schema["$defs"][_REFERENCE] = {
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^{}]*)?\}",
        "description": "A value with an environment variable: ${VAR} or ${VAR:-default}.",
    }
    return {"$schema": _DIALECT, **schema, "title": "dispatcher configuration"}


def _open_to_references(node: Any) -> Any:
    """Allow a reference to a variable wherever the schema does not accept any text."""
    if isinstance(node, list):
        return [_open_to_references(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _open_property(part) for name, part in value.items()}
        if key == "properties"
        else _open_to_references(value)
        for key, value in node.items()
    }


def _open_property(node: dict[str, Any]) -> dict[str, Any]:
    choices = node.get("anyOf", [node])
    if not any(_is_narrow(choice) for choice in choices):
        return node
    outer: dict[str, Any] = {
        key: node[key] for key in ("title", "description", "default") if key in node
    }
    inner = [
        {key: value for key, value in choice.items() if key not in outer} for choice in choices
    ]
    return {**outer, "anyOf": [*inner, {"$ref": f"#/$defs/{_REFERENCE}"}]}


def _is_narrow(choice: dict[str, Any]) -> bool:
    """Return whether this choice does not accept any text."""
    if choice.get("type") in ("integer", "number", "boolean"):
        return True
    return bool({"enum", "const", "pattern", "maxLength"} & choice.keys())
