"""Settings of connectors: the sections ``source``, ``sink`` and ``dead_letters``."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from dispatcher import limits
from dispatcher.config.packing import Expression, own_fields
from dispatcher.config.section import Section
from dispatcher.config.units import Duration, Size

_URL = r"^https?://"
_RESULT_FIELDS = ("key", "status", "output", "input", "meta")
"""Fields of a result line that ``sink.select`` can use."""

_FIFO_SUFFIX = ".fifo"
"""Suffix of the names of FIFO queues, and of no others (D)."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _ConnectorSettings(Section):
    """A section whose ``type`` decides which of its keys are used."""

    OWN_KEYS: ClassVar[dict[str, tuple[str, ...]]]
    """Keys that not every type has, by type; the first of each type is required."""

    @model_validator(mode="after")
    def _has_keys_of_its_type(self) -> Self:
        kind = str(self.model_dump(include={"type"})["type"])
        for other, keys in self.OWN_KEYS.items():
            foreign = self._first_set(key for key in keys if key not in self.OWN_KEYS[kind])
            if foreign is not None:
                raise ValueError(f"{foreign} is a key of type {other}; this is type {kind}")
        required = self.OWN_KEYS[kind][0]
        if not getattr(self, required):
            meaning = (type(self).model_fields[required].description or "").rstrip(".")
            meaning = meaning if meaning[1:2].isupper() else meaning[:1].lower() + meaning[1:]
            raise ValueError(f"{required} is missing ({meaning})")
        if kind == "sqs" and str(getattr(self, required)).endswith(_FIFO_SUFFIX):
            raise ValueError(
                f"{required} names a FIFO queue: its messages are received and sent group by "
                "group, which is not supported; name a standard queue"
            )
        return self

    def _first_set(self, keys: Iterable[str]) -> str | None:
        fields = type(self).model_fields
        changed = (
            key
            for key in keys
            if key in self.model_fields_set and getattr(self, key) != fields[key].get_default()
        )
        return next(changed, None)


class SourceSettings(_ConnectorSettings):
    """Where records come from."""

    OWN_KEYS: ClassVar[dict[str, tuple[str, ...]]] = {
        "jsonl": ("path", "key", "compression"),
        "files": ("path",),
        "sqs": ("queue_url", "key", "receivers", "until_empty"),
    }

    type: Literal["jsonl", "files", "sqs"] = Field(
        "jsonl",
        description="Kind of source: files of JSON lines, files that are a record each, SQS.",
    )
    path: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
    ] = Field([], description="File, glob, list of these, or - for standard input.")
    key: str | None = Field(
        None,
        min_length=1,
        description="Field that names a record; default its file and line, or the message's id.",
    )
    compression: Literal["auto", "none", "gzip", "zstd"] = Field(
        "auto", description="Compression of the files; auto goes by their first bytes."
    )
    max_record: Size = Field(
        100_000_000,
        gt=0,
        le=limits.STAGED_BODY_BYTES,
        description="Largest record in bytes; a longer one is a dead letter, never in memory.",
    )
    queue_url: str | None = Field(
        None, pattern=_URL, description="SQS queue; the body of a message is a record."
    )
    receivers: int = Field(2, ge=1, le=100, description="Parallel long polls of the queue.")
    until_empty: Duration | None = Field(
        None,
        ge=1,
        description="End when the queue delivered nothing for so long; unset: never.",
    )


class _OutcomeSettings(_ConnectorSettings):
    """Keys of every section that outcomes go to."""

    OWN_KEYS: ClassVar[dict[str, tuple[str, ...]]] = {"jsonl": ("path",), "sqs": ("queue_url",)}

    type: Literal["jsonl", "sqs"] = Field(
        "jsonl", description="Kind of sink: a file of JSON lines, or an SQS queue."
    )
    path: str
    queue_url: str | None = Field(
        None, pattern=_URL, description="SQS queue; each outcome is a message."
    )

    @property
    def destination(self) -> str:
        """The file, or the queue."""
        return self.queue_url or self.path


class SinkSettings(_OutcomeSettings):
    """Where results go."""

    path: str = Field("results.jsonl", min_length=1, description="File of result lines.")
    join: Literal["output", "input", "both"] = Field(
        "output", description="What a result line carries besides its key."
    )
    select: Expression | None = Field(
        None, description="JMESPath over a result line: what is written as its output."
    )
    meta: bool = Field(False, description="Add invocation id, attempts and times to each line.")

    @model_validator(mode="after")
    def _selects_existing_fields(self) -> Self:
        # A missing field is null in JMESPath: every output of the run would be written as null.
        for name in sorted(own_fields(self.select)) if self.select is not None else ():
            if name not in _RESULT_FIELDS:
                raise ValueError(
                    f"select takes {name} of a result line, which only has "
                    f"{', '.join(_RESULT_FIELDS)}; did you mean output.{name}?"
                )
            if name == "input" and self.join == "output":
                raise ValueError(
                    "select takes input, which is only there with join: input or join: both"
                )
        return self


class DeadLetterSettings(_OutcomeSettings):
    """Where records go that are not retried any more."""

    path: str = Field("dead.jsonl", min_length=1, description="File of dead-letter lines.")
