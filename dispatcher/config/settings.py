"""The whole configuration: a model for each section, with meaning, unit and default of each key.

The models only hold and check values; ``dispatcher.config.load`` reads YAML.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from dispatcher import limits
from dispatcher.config.connectors import DeadLetterSettings, SinkSettings, SourceSettings
from dispatcher.config.faults import FaultSettings
from dispatcher.config.packing import PackingSettings, StagingSettings
from dispatcher.config.retry import RetrySettings
from dispatcher.config.section import Section
from dispatcher.config.units import Duration, Size


class EndpointSettings(Section):
    """The SageMaker endpoint that is invoked."""

    name: str = Field(
        max_length=limits.ENDPOINT_NAME_CHARS,
        pattern=limits.ENDPOINT_NAME_PATTERN,
        description="Name of the asynchronous inference endpoint.",
    )


class AwsSettings(Section):
    """How AWS is reached. Standard AWS_* environment variables apply where a key is unset."""

    region: str | None = Field(None, description="AWS region; default AWS_REGION or the profile's.")
    profile: str | None = Field(None, description="Profile of the shared AWS configuration files.")
    role_arn: str | None = Field(None, description="Role to assume; refreshed as it expires.")
    transport: Literal["direct", "aioboto3"] = Field(
        "direct", description="Client for the hot calls: our own, or aioboto3's."
    )
    connect_timeout: Duration = Field(5.0, gt=0, description="Longest time to connect.")
    read_timeout: Duration = Field(
        60.0,
        ge=limits.SQS_LONG_POLL_SECONDS + 1,
        description="Longest wait for bytes of a response; an empty queue responds after 20s.",
    )
    total_timeout: Duration = Field(
        600.0, ge=30, description="Longest time of one call, with its payload and its response."
    )


class RequestSettings(Section):
    """Fields of every invocation besides its payload."""

    content_type: str | None = Field(
        None,
        max_length=limits.HEADER_CHARS,
        pattern=r"^[ -~]+$",
        description="ContentType before compression; default by encoding and framing.",
    )
    accept: str | None = Field(
        None,
        max_length=limits.HEADER_CHARS,
        pattern=r"^[ -~]+$",
        description="Accept: the MIME type of the container's response.",
    )
    custom_attributes: str | None = Field(
        None,
        max_length=limits.HEADER_CHARS,
        pattern=r"^[!-~]+$",
        description="CustomAttributes: forwarded to the container as they are.",
    )
    output_naming: Literal["chosen", "service"] = Field(
        "chosen",
        description="Names of output objects: chosen here, so that they can be found, or by AWS.",
    )
    ttl: Duration = Field(
        limits.REQUEST_TTL_DEFAULT_SECONDS,
        ge=limits.REQUEST_TTL_SECONDS[0],
        le=limits.REQUEST_TTL_SECONDS[1],
        description="Longest wait in the endpoint's queue (60s..6h).",
    )
    timeout: Duration = Field(
        limits.INVOCATION_TIMEOUT_DEFAULT_SECONDS,
        ge=limits.INVOCATION_TIMEOUT_SECONDS[0],
        le=limits.INVOCATION_TIMEOUT_SECONDS[1],
        description="Longest time for the container to respond (1s..1h).",
    )


class LimitsSettings(Section):
    """Limits of the work under way at once."""

    concurrency: int = Field(64, ge=1, le=10_000, description="Calls on the wire at once.")
    outstanding: int = Field(
        2000, ge=1, le=1_000_000, description="Invocations sent and without an outcome."
    )
    payload_memory: Size = Field(
        32_000_000, ge=1_000_000, description="Bytes of payloads and outputs held in memory."
    )
    drain: Duration = Field(
        30.0, ge=0, description="After SIGTERM, how long to wait for what is outstanding."
    )


class CompletionSettings(Section):
    """How completions are detected."""

    queue_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="SQS queue of the endpoint's events; unset: outputs are looked up in S3.",
    )
    listeners: int = Field(2, ge=1, le=100, description="Parallel long polls of the queue.")
    fetchers: int = Field(16, ge=1, le=1000, description="Parallel reads of output objects.")
    sweep_after: Duration = Field(
        60.0,
        gt=0,
        description="While events arrive: how long an invocation waits for one before S3 is asked.",
    )
    sweep_budget: int = Field(
        50, ge=1, le=5_000, description="Most requests to S3 a second that probe for completions."
    )
    slack: Duration = Field(
        60.0, ge=0, description="Added to ttl + timeout before an invocation counts as expired."
    )
    foreign: Literal["leave", "delete"] = Field(
        "leave", description="Events of other callers of a shared queue: leave or delete them."
    )
    max_output: Size = Field(
        100_000_000, gt=0, description="Largest output in bytes; a larger one is a dead letter."
    )


class LedgerSettings(Section):
    """State that survives the process. A run is named by its ledger."""

    path: str = Field("state/ledger.db", min_length=1, description="SQLite file of the run.")
    durability: Literal["full", "relaxed"] = Field(
        "full", description="full survives power loss; relaxed survives a killed process."
    )
    spool_max: Size = Field(
        10_000_000_000,
        ge=1_000_000_000,
        description="Most bytes of payloads kept beside the ledger; reading waits at the limit.",
    )


class ObserveSettings(Section):
    """How the run can be observed."""

    port: int | None = Field(
        None, ge=0, le=65535, description="Port of /metrics, /live, /ready, /status.json; 0 any."
    )
    host: str = Field("127.0.0.1", description="Address that the port is opened on.")


class ServiceTime(Section):
    """Service time of the emulated model: log-normal through two quantiles."""

    median: Duration = Field(0.02, ge=0, description="Half of all inferences are faster.")
    p99: Duration | None = Field(None, description="99 of 100 are faster; unset: all as median.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.p99 is not None and self.p99 < self.median:
            raise ValueError("p99 must not be below median")
        return self


def _as_median(value: Any) -> Any:
    return {"median": value} if isinstance(value, str | int | float) else value


class EmulatorSettings(Section):
    """An emulator of SageMaker asynchronous inference; in a run it replaces AWS."""

    model: str = Field("echo", description="echo, text-stats, or package.module:function.")
    instances: int = Field(4, ge=1, le=10_000, description="Inferences at once.")
    service_time: Annotated[
        ServiceTime, BeforeValidator(_as_median, json_schema_input_type=str | float | ServiceTime)
    ] = Field(ServiceTime(), description="Time of an inference: 20ms or {median: , p99: }.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(0, ge=0, le=65535, description="Port to listen on; 0 any free one.")
    seed: int = Field(0, description="Seed of all that is random.")
    events: bool = Field(True, description="Publish success and error events.")
    response_in_event: bool = Field(
        False, description="IncludeInferenceResponseIn: small responses travel in the event."
    )
    raw_delivery: bool = Field(True, description="SNS delivers events raw instead of wrapped.")
    faults: FaultSettings = Field(FaultSettings(), description="Share of each fault, 0 to 1.")
    verify_signatures: bool = Field(
        False,
        description="Refuse calls that are not signed with the emulator's own key, as AWS does.",
    )
    state: str | None = Field(
        None,
        min_length=1,
        description="Folder for objects and accepted work, to survive a restart; unset: beside "
        "the ledger of a run, else memory.",
    )


class Config(Section):
    """The whole configuration of a run."""

    endpoint: Annotated[
        EndpointSettings,
        BeforeValidator(
            lambda v: {"name": v} if isinstance(v, str) else v,
            json_schema_input_type=str | EndpointSettings,
        ),
    ] = Field(description="The endpoint to invoke; its name is enough.")
    aws: AwsSettings = AwsSettings()
    source: SourceSettings
    request: RequestSettings = RequestSettings()
    packing: PackingSettings = PackingSettings()
    staging: StagingSettings = StagingSettings()
    limits: LimitsSettings = LimitsSettings()
    retry: RetrySettings = RetrySettings()
    completion: CompletionSettings = CompletionSettings()
    ledger: LedgerSettings = LedgerSettings()
    sink: SinkSettings = SinkSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    observe: ObserveSettings = ObserveSettings()
    emulator: EmulatorSettings | None = Field(
        None, description="Run against an embedded emulator instead of AWS."
    )

    @model_validator(mode="after")
    def _answer_id_has_keys(self) -> Self:
        if self.packing.answer.id is not None and self.source.key is None:
            raise ValueError(
                "packing.answer.id finds the output of a record by its key: set source.key to the "
                "field of a record that the container copies into its output"
            )
        return self

    @model_validator(mode="after")
    def _content_type_has_one_format(self) -> Self:
        packing = self.packing
        others = [e for e in packing.encodings if e not in packing.content_types]
        formats = list(dict.fromkeys(encoding.partition("+")[0] for encoding in others))
        if self.request.content_type is not None and len(formats) > 1:
            raise ValueError(
                f"request.content_type would label {' and '.join(formats)} alike; give each "
                "encoding its own in packing.content_types"
            )
        return self

    @model_validator(mode="after")
    def _destinations_differ(self) -> Self:
        sink, dead = self.sink, self.dead_letters
        if sink.type == dead.type == "jsonl" and sink.path == dead.path:
            raise ValueError("sink.path and dead_letters.path must be two different files")
        queues = {
            "source.queue_url": self.source.queue_url,
            "completion.queue_url": self.completion.queue_url,
            "sink.queue_url": sink.queue_url,
            "dead_letters.queue_url": dead.queue_url,
        }
        seen: dict[str, str] = {}
        for name, url in queues.items():
            if url is not None and (other := seen.setdefault(url, name)) != name:
                raise ValueError(f"{other} and {name} must be two different queues")
        return self
