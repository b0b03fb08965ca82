"""Explain the errors that pydantic reports in plain sentences with the remedy."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from dispatcher import limits
from dispatcher.config.section import KeyPath
from dispatcher.config.settings import Config
from dispatcher.config.units import parse_duration, parse_size
from dispatcher.config.yaml.interpolation import shorten

PATTERNS: Mapping[str, str] = {
    limits.ENDPOINT_NAME_PATTERN: "letters, digits and single hyphens between them",
    r"^[ -~]+$": "printable ASCII characters",
    r"^[ -~]*$": "printable ASCII characters",
    r"^[!-~]+$": "printable ASCII characters without blanks",
    r"^https?://": "a URL that begins with https:// or http://",
}
"""Each pattern of the settings, in words."""

_COMPARISONS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def explain(error: ErrorDetails) -> str:
    """Return one sentence about one error of the configuration's models.

    Args:
        error: As ``ValidationError.errors()`` returns it; the caller adds its place.
    """
    path: KeyPath = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown_key(path)
    field = find_field(path)
    name = dotted(path)
    if error["type"] == "missing":
        about = f" ({_uncapitalised(field.description)})" if field and field.description else ""
        return f"{name} is missing{about}"
    if error["type"] == "value_error":
        sentence = str(error["ctx"]["error"])
        return f"{name}: {sentence}" if path else sentence
    if error["type"] == "too_short":
        least = error["ctx"]["min_length"]
        return f"{name} must have at least {least} {'entry' if least == 1 else 'entries'}"
    if error["type"] in _COMPARISONS:
        words, bound = _COMPARISONS[error["type"]]
        return (
            f"{name} must be {words} {_with_unit(error['ctx'][bound], field)}, "
            f"not {_with_unit(error['input'], field)}"
        )
    value = _quoted(error["input"])
    return f"{name} must be {_expected(error, field)}, not {value}{_suggestion(error)}"


def find_field(path: KeyPath) -> FieldInfo | None:
    """Return the field that a path of keys leads to; list indexes belong to their field."""
    model: type[BaseModel] | None = Config
    field: FieldInfo | None = None
    for part in path:
        if isinstance(part, int):
            continue
        if model is None or part not in model.model_fields:
            return None
        field = model.model_fields[part]
        model = section_of(field)
    return field


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model behind a field that is a section, also an optional one."""
    candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def dotted(path: KeyPath) -> str:
    """Write a path as users do: ``packing.encodings[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def _expected(error: ErrorDetails, field: FieldInfo | None) -> str:
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "string_type":
            return "text (in quotes where it looks like something else)"
        case "string_pattern_mismatch":
            return PATTERNS[context["pattern"]]
        case "string_too_long":
            return f"at most {context['max_length']} characters long"
        case "string_too_short":
            least = context["min_length"]
            return f"at least {least} {'character' if least == 1 else 'characters'} long"
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"a whole number{_example(field)}"
        case "float_type" | "float_parsing" | "finite_number":
            return f"a number{_example(field)}"
        case "bool_type" | "bool_parsing":
            return "true or false"
        case "literal_error":
            return _without_quotes(context["expected"])
        case "list_type":
            return "text or a list" if _accepts_single_value(field) else "a list, such as [a, b]"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "a section with keys of its own (key: value, indented)"
        case _:
            # For kinds of future fields; a test proves that today's fields never get here.
            return f"different ({error['msg']})"


def _with_unit(bound: float, field: FieldInfo | None) -> str:
    """Write a bound in the unit that the field is written in."""
    parsers = {getattr(part, "func", None) for part in field.metadata} if field else set()
    if parse_duration in parsers:
        for seconds, unit in ((3600, "h"), (60, "m"), (1, "s")):
            if bound and bound % seconds == 0:
                return f"{bound / seconds:g}{unit}"
        return f"{bound:g}s"
    if parse_size in parsers:
        for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
            if bound and bound % size == 0:
                return f"{bound // size:g}{unit}"
        return f"{bound:g}B"
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _example(field: FieldInfo | None) -> str:
    default = field.default if field else None
    return f", such as {default}" if isinstance(default, int | float) else ""


def _accepts_single_value(field: FieldInfo | None) -> bool:
    """Return whether a list may also be written as its one entry."""
    return field is not None and any(isinstance(m, BeforeValidator) for m in field.metadata)


def _without_quotes(expected: str) -> str:
    return expected.replace("'", "")


def _suggestion(error: ErrorDetails) -> str:
    if error["type"] != "literal_error":
        return ""
    choices = _without_quotes(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")
    near = difflib.get_close_matches(str(error["input"]), choices, n=1)
    return f"; did you mean {near[0]}?" if near and len(choices) > 1 else ""


def _quoted(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {shorten(str(value))}"
    if isinstance(value, str):
        return f'"{shorten(value)}"' if value else "empty text"
    return "a list" if isinstance(value, list) else "a section"


def _unknown_key(path: KeyPath) -> str:
    """Return a sentence with the nearest key of this section, and the section that has this key."""
    *parents, key = path
    section = dotted(tuple(parents))
    sentence = f'unknown key "{shorten(str(key))}"' + (f" in {section}" if section else "")
    field = find_field(tuple(parents))
    model = (section_of(field) if field else None) if parents else Config
    known = list(model.model_fields) if model else []
    near = difflib.get_close_matches(str(key), known, n=1)
    elsewhere = [name for name, field_name in _all_keys() if field_name == key and name != section]
    hints = []
    if near:
        hints.append(f"did you mean {near[0]}?")
    if elsewhere:
        hints.append(f"{key} is a key of {' and of '.join(elsewhere)}")
    if not hints:
        all_keys = list(_all_keys())
        far = difflib.get_close_matches(str(key), [name for _, name in all_keys], n=1)
        names = [f"{place}.{name}" for place, name in all_keys if name in far]
        hints.append(
            f"did you mean {' or '.join(names)}?" if names else f"known here: {', '.join(known)}"
        )
    return f"{sentence}; {' '.join(hints)}"


def _all_keys() -> Iterator[tuple[str, str]]:
    """Yield every section's dotted name with each of its keys."""

    def walk(name: str, model: type[BaseModel]) -> Iterator[tuple[str, str]]:
        for key, field in model.model_fields.items():
            if name:
                yield name, key
            inner = section_of(field)
            if inner:
                yield from walk(f"{name}.{key}" if name else key, inner)

    return walk("", Config)


def _uncapitalised(description: str) -> str:
    text = description.rstrip(".")
    # "SQS queue" and "S3 bucket" keep their capitals.
    return text if text[1:2].isupper() or text[1:2].isdigit() else text[:1].lower() + text[1:]
