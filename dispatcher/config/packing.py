"""Settings of packing and staging: the sections ``packing`` and ``staging``."""

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

import jmespath
import orjson
from jmespath.functions import Functions
from pydantic import AfterValidator, Field, field_validator, model_validator

from dispatcher import limits
from dispatcher.config.section import Section
from dispatcher.config.units import Duration, Size

Encoding: TypeAlias = Literal[
    "json", "json+gzip", "json+zstd", "msgpack", "msgpack+gzip", "msgpack+zstd", "raw"
]
Framing: TypeAlias = Literal["none", "lines", "json-array", "msgpack-array", "template"]

TEMPLATE_MARK = "[...]"
"""Placeholder of the records in ``packing.template``."""

_FORMATS: dict[Framing, tuple[str, ...]] = {
    "none": ("json", "msgpack", "raw"),
    "lines": ("json",),
    "json-array": ("json",),
    "template": ("json",),
    "msgpack-array": ("msgpack",),
}
"""Formats of encodings that each framing can hold."""

_FUNCTIONS: Mapping[str, Any] = Functions.FUNCTION_TABLE

_NODES_OF_THE_VALUE = frozenset(
    {
        "multi_select_dict",
        "multi_select_list",
        "key_val_pair",
        "or_expression",
        "and_expression",
        "not_expression",
        "comparator",
        "function_expression",
    }
)
"""Nodes whose children all see the value that the node sees; of others only the first does."""


def _expression(text: str) -> str:
    try:
        parsed = jmespath.compile(text).parsed
    except jmespath.exceptions.JMESPathError as error:
        lines = str(error).splitlines()
        raise ValueError(f"{text!r} is no JMESPath expression: {lines[0]}") from None
    _check_functions(text, parsed)
    return text


def _check_functions(text: str, parsed: Any) -> None:
    """Refuse calls that cannot work; the library would fail only at the first record."""
    nodes = [parsed]
    while nodes:
        node = nodes.pop()
        if not isinstance(node, dict):
            continue  # the bounds of a slice
        nodes += node["children"]
        if node["type"] != "function_expression":
            continue
        name, count = node["value"], len(node["children"])
        if name not in _FUNCTIONS:
            near = difflib.get_close_matches(name, _FUNCTIONS, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{text!r}: JMESPath has no function {name}{meant}")
        parameters = _FUNCTIONS[name]["signature"]
        is_open = bool(parameters) and parameters[-1].get("variadic", False)
        if count < len(parameters) or (count > len(parameters) and not is_open):
            least = "at least " if is_open else ""
            noun = "argument" if len(parameters) == 1 else "arguments"
            raise ValueError(f"{text!r}: {name} takes {least}{len(parameters)} {noun}, not {count}")


def own_fields(text: str) -> set[str]:
    """Return the names of the fields that an expression reads from the value itself.

    Fields that it reads from another field, from elements of a list, or after a pipe are left out.

    Args:
        text: A valid expression.
    """
    names: set[str] = set()
    nodes = [jmespath.compile(text).parsed]
    while nodes:
        node = nodes.pop()
        if node["type"] == "field":
            names.add(node["value"])
        elif node["type"] in _NODES_OF_THE_VALUE:
            nodes += node["children"]
        elif node["children"] and node["type"] != "expref":
            first, *others = node["children"]
            nodes.append(first)
            if first["type"] == "current" and node["type"] in ("subexpression", "pipe"):
                nodes.append(others[0])
    return names


Expression: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_expression)]
"""A JMESPath expression."""


def _pointer(text: str) -> str:
    if text and not re.fullmatch(r"(?:/(?:[^~/]|~[01])*)+", text):
        raise ValueError(f"{text!r} is no JSON pointer; write it like /predictions")
    return text


class AnswerSettings(Section):
    """How the response to several records is split into one output each."""

    framing: Literal["auto", "lines", "array"] = Field(
        "auto",
        description="How a response holds outputs; auto: as its content type and content show.",
    )
    list: Annotated[str, AfterValidator(_pointer)] = Field(
        "", description="JSON pointer to the list of outputs in the response; empty: the response."
    )
    id: str | None = Field(
        None,
        min_length=1,
        description="Field of an output that holds its record's key; unset: by position.",
    )

    @model_validator(mode="after")
    def _lines_have_no_pointer(self) -> Self:
        if self.framing == "lines" and self.list:
            raise ValueError(
                f"list points to {self.list} in a document, but with framing lines a response is "
                "not one document; set framing to auto or array"
            )
        return self


class PackingSettings(Section):
    """How records become payloads."""

    encodings: list[Encoding] = Field(
        ["json"], min_length=1, description="Encodings in order of preference."
    )
    framing: Framing = Field(
        "none", description="How several records form one payload; none sends one each."
    )
    template: str | None = Field(
        None,
        min_length=1,
        description='framing template: JSON around the records, such as {"instances": [...]}.',
    )
    select: Expression | None = Field(
        None, description="JMESPath over a record: what is sent of it; unset: all of it."
    )
    answer: AnswerSettings = AnswerSettings()
    content_types: dict[Encoding, Annotated[str, Field(pattern=r"^[ -~]+$")]] = Field(
        {}, description="ContentType by encoding, where the usual one does not fit."
    )
    max_records: int = Field(1, ge=1, le=100_000, description="Most records in one invocation.")
    max_bytes: Size = Field(
        limits.INLINE_BODY_BYTES,
        gt=0,
        le=limits.INLINE_BODY_BYTES,
        description="Most bytes of a packed payload; a larger record travels alone.",
    )
    linger: Duration = Field(
        0.1,
        ge=0,
        description="Pipes and queues: longest wait for more records before a payload is sent.",
    )

    @field_validator("encodings")
    @classmethod
    def _has_no_duplicates(cls, encodings: list[Encoding]) -> list[Encoding]:
        if len(set(encodings)) < len(encodings):
            raise ValueError("an encoding is named twice")
        return encodings

    @model_validator(mode="after")
    def _content_types_have_encodings(self) -> Self:
        for encoding in self.content_types:
            if encoding not in self.encodings:
                raise ValueError(
                    f"content_types names {encoding}, which is not in encodings: "
                    f"{', '.join(self.encodings)}"
                )
        return self

    @model_validator(mode="after")
    def _framing_none_has_one_record(self) -> Self:
        if self.framing == "none" and self.max_records > 1:
            raise ValueError(
                "framing none sends one record an invocation; to send up to "
                f"{self.max_records} set framing to lines, json-array, msgpack-array or template"
            )
        return self

    @model_validator(mode="after")
    def _framing_fits_encodings(self) -> Self:
        formats = _FORMATS[self.framing]
        for encoding in self.encodings:
            if encoding.partition("+")[0] not in formats:
                form = encoding.partition("+")[0]
                fitting = " or ".join(name for name, able in _FORMATS.items() if form in able)
                raise ValueError(
                    f"encoding {encoding} cannot be framed as {self.framing}; with it, framing is "
                    f"{fitting}"
                )
        return self

    @model_validator(mode="after")
    def _template_has_placeholder(self) -> Self:
        if (self.framing == "template") != (self.template is not None):
            raise ValueError(
                "framing template and the key template belong together, such as "
                "template: '{\"instances\": [...]}'"
            )
        if self.template is not None and not _is_template(self.template):
            raise ValueError(
                f"template must be JSON with {TEMPLATE_MARK} in the place of the records, once, "
                f'such as {{"instances": {TEMPLATE_MARK}}}'
            )
        # Containers that take a template respond with one. Read as one output, the response to a
        # single record would pass the check of the count and be written whole.
        if self.template is not None and "list" not in self.answer.model_fields_set:
            raise ValueError(
                "framing template needs answer.list, the JSON pointer to the outputs in the "
                'response, such as /predictions; write "" where the response itself is the list'
            )
        return self


def _is_template(text: str) -> bool:
    try:
        # In the middle of a string this ends the string, and parsing fails.
        orjson.loads(text.replace(TEMPLATE_MARK, '["x"]'))
    except orjson.JSONDecodeError:
        return False
    return text.count(TEMPLATE_MARK) == 1


_TAG_KEY = re.compile(r"(?!aws:)[\w +\-=.:/@]{1,128}")
_TAG_VALUE = re.compile(r"[\w +\-=.:/@]{0,256}")
_TAG_RULE = "at most {} letters, digits, blanks and _ + - = . : / @, and no name begins with aws:"
"""Tags that S3 accepts, at most ten an object (AWS documentation, object tagging)."""


class StagingSettings(Section):
    """Where payloads go that are too large for an inline request."""

    bucket: str | None = Field(
        None,
        min_length=3,
        max_length=63,
        description="S3 bucket; unset: records too large for inline become dead letters.",
    )
    prefix: str = Field(
        "staged/",
        max_length=512,
        pattern=r"^[ -~]*$",  # InputLocation is a header
        description="Prefix of the staged objects' keys.",
    )
    encryption: Literal["AES256", "aws:kms"] | None = Field(
        None, description="Server-side encryption; unset: as the bucket says."
    )
    kms_key: str | None = Field(
        None, min_length=1, description="KMS key id or ARN; unset: the account's key for S3."
    )
    tags: dict[str, str] = Field(
        {}, max_length=10, description="Tags of the staged objects, at most ten."
    )
    delete: Literal["on_settled", "never", "by_lifecycle"] = Field(
        "on_settled",
        description="Removal of staged objects: by the run, never, or by a lifecycle rule.",
    )

    @field_validator("tags")
    @classmethod
    def _tags_are_valid(cls, tags: dict[str, str]) -> dict[str, str]:
        for key, value in tags.items():
            if not _TAG_KEY.fullmatch(key):
                raise ValueError(f"S3 takes no tag named {key!r}: {_TAG_RULE.format(128)}")
            if not _TAG_VALUE.fullmatch(value):
                raise ValueError(f"S3 takes no tag {key} of {value!r}: {_TAG_RULE.format(256)}")
        return tags

    @model_validator(mode="after")
    def _lifecycle_rule_has_folder(self) -> Self:
        if self.delete == "by_lifecycle" and not self.prefix.strip("/"):
            raise ValueError(
                f"prefix is {self.prefix!r}: a lifecycle rule for it would delete everything in "
                "the bucket; give staged objects a folder of their own, such as staged/"
            )
        if self.delete == "by_lifecycle" and not self.prefix.endswith("/"):
            raise ValueError(
                f"prefix must end in / for delete: by_lifecycle: a rule for {self.prefix!r} would "
                f"delete whatever else begins so; write {self.prefix}/"
            )
        return self

    @model_validator(mode="after")
    def _key_needs_kms(self) -> Self:
        if self.kms_key is not None and self.encryption != "aws:kms":
            raise ValueError("kms_key needs encryption: aws:kms")
        return self
