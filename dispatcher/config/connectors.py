"""Where records come from, and where results and dead letters go."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from dispatcher import limits
from dispatcher.config.packing import Expression, own_fields
from dispatcher.config.section import Section
from dispatcher.config.units import Duration, Size

_URL = r"^https?://"
_LINE = ("key", "status", "output", "input", "meta")
"""What ``sink.select`` sees of a result line."""

_FIFO = ".fifo"
"""How the names of FIFO queues end, and no others' (D)."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _Place(Section):
    """A section whose ``type`` decides which of its keys are used."""

    OWN: ClassVar[dict[str, tuple[str, ...]]]
    """Keys that not every type has; the first of each is the one that it cannot do without."""

    @model_validator(mode="after")
    def _keys_of_its_type(self) -> Self:
        kind = str(self.model_dump(include={"type"})["type"])
        for other, keys in self.OWN.items():
            alien = self._set(key for key in keys if key not in self.OWN[kind])
            if alien is not None:
                raise ValueError(f"{alien} is a key of type {other}; this is type {kind}")
        needed = self.OWN[kind][0]
        if not getattr(self, needed):
            said = (type(self).model_fields[needed].description or "").rstrip(".")
            said = said if said[1:2].isupper() else said[:1].lower() + said[1:]
            raise ValueError(f"{needed} is missing ({said})")
        if kind == "sqs" and str(getattr(self, needed)).endswith(_FIFO):
            raise ValueError(
                f"{needed} names a FIFO queue: its messages are taken and sent group by group, "
                "which is not supported; name a standard queue"
            )
        return self

    def _set(self, keys: Iterable[str]) -> str | None:
        fields = type(self).model_fields
        changed = (
            key
            for key in keys
            if key in self.model_fields_set and getattr(self, key) != fields[key].get_default()
        )
        return next(changed, None)


class SourceSettings(_Place):
    """Where records come from."""

    OWN: ClassVar[dict[str, tuple[str, ...]]] = {
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
        description="End when the queue gave nothing for so long; unset: wait for ever.",
    )


class _SinkPlace(_Place):
    """A place that outcomes go to."""

    OWN: ClassVar[dict[str, tuple[str, ...]]] = {"jsonl": ("path",), "sqs": ("queue_url",)}

    type: Literal["jsonl", "sqs"] = Field(
        "jsonl", description="Kind of sink: a file of JSON lines, or an SQS queue."
    )
    path: str
    queue_url: str | None = Field(
        None, pattern=_URL, description="SQS queue; each outcome is a message."
    )

    @property
    def place(self) -> str:
        """The file, or the queue."""
        return self.queue_url or self.path


class SinkSettings(_SinkPlace):
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
    def _selects_what_is_there(self) -> Self:
        # A field that is missing is null in JMESPath: the whole run would be written as nulls.
        for name in sorted(own_fields(self.select)) if self.select is not None else ():
            if name not in _LINE:
                raise ValueError(
                    f"select takes {name} of a result line, which only has {', '.join(_LINE)}; did "
                    f"you mean output.{name}?"
                )
            if name == "input" and self.join == "output":
                raise ValueError(
                    "select takes input, which is only there with join: input or join: both"
                )
        return self


class DeadLetterSettings(_SinkPlace):
    """Where records go that will not be tried again."""

    path: str = Field("dead.jsonl", min_length=1, description="File of dead-letter lines.")
