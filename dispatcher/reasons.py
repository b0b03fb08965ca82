"""The reasons of dead letters: the one list, against which settings and documents are checked."""

from enum import StrEnum
from typing import Literal, Self, TypeAlias

Status: TypeAlias = Literal["completed", "failed", "expired", "rejected"]
"""``completed`` goes to the sink; the others are dead letters.

``failed``: the container, or the way to it, gave an error that no retry mends. ``expired``: no
answer within the deadline. ``rejected``: never invoked, because the record cannot be.
"""


class Reason(StrEnum):
    """Why a record is a dead letter; the value is the stable code in its line.

    Attributes:
        status: The status that goes with it.
        meaning: What happened, as the documents say it.
        remedy: What to do about it.
        can_split: One record of several can be to blame, so the invocation is split to find it. An
            output that is missing or may not be read is the fault of no record.
    """

    status: Status
    meaning: str
    remedy: str
    can_split: bool

    def __new__(
        cls, code: str, status: Status, meaning: str, remedy: str, can_split: bool = False
    ) -> Self:
        """Make a reason with its attributes."""
        reason = str.__new__(cls, code)
        reason._value_ = code
        reason.status = status
        reason.meaning = meaning
        reason.remedy = remedy
        reason.can_split = can_split
        return reason

    BAD_JSON = (
        "bad_json",
        "rejected",
        "the line or message is not one JSON value",
        "correct the input at the place that the message names",
    )
    BAD_UTF8 = (
        "bad_utf8",
        "rejected",
        "the line or message is not UTF-8 text",
        "convert the input to UTF-8, or send files as they are with `source.type: files`",
    )
    MISSING_KEY = (
        "missing_key",
        "rejected",
        "the record has no field `source.key`",
        "name a field that every record has in `source.key`, or leave it out",
    )
    BAD_KEY = (
        "bad_key",
        "rejected",
        "the field `source.key` is neither text nor a whole number, or too long",
        "name another field in `source.key`, or leave it out",
    )
    BAD_COMPRESSION = (
        "bad_compression",
        "rejected",
        "the compressed input is damaged from here on",
        "restore the file",
    )
    MISSING_FILE = (
        "missing_file",
        "rejected",
        "the [file](sources.md) was listed, and is gone",
        "restore the file and replay the record",
    )
    UNREADABLE_FILE = (
        "unreadable_file",
        "rejected",
        "the [file](sources.md) cannot be read, or is no regular file",
        "allow this user to read it",
    )
    EMPTY_FILE = ("empty_file", "rejected", "the [file](sources.md) holds nothing", "remove it")
    CHANGED_FILE = (
        "changed_file",
        "rejected",
        "the [file](sources.md) changed while it was read",
        "replay the record when the file is complete",
    )
    TOO_LARGE = (
        "too_large",
        "rejected",
        "above `source.max_record`, or above the service's 1 GB",
        "raise `source.max_record`, or make the record smaller",
    )
    NO_STAGING = (
        "no_staging",
        "rejected",
        "above 128,000 bytes, and no `staging.bucket`",
        "set `staging.bucket`",
    )
    NOT_ENCODABLE = (
        "not_encodable",
        "rejected",
        "no encoding can carry the record, see [packing](packing.md)",
        "choose another encoding in `packing.encodings`",
    )
    CALL_REJECTED = (
        "call_rejected",
        "rejected",
        "the service refused the request, but has accepted others (ten refusals first stop a run)",
        "see the message; correct the record",
    )
    CALL_TRANSIENT = (
        "call_transient",
        "rejected",
        "its calls failed `retry.attempts` times while others succeeded",
        "see the message; replay the record, or raise `retry.attempts`",
    )
    CALL_UNKNOWN = (
        "call_unknown",
        "rejected",
        "its calls had no answer `retry.attempts` times while others succeeded",
        "replay the record, or raise `retry.attempts`",
    )
    MODEL_ERROR = (
        "model_error",
        "failed",
        "the container refused the request (4xx); its message is in the line",
        "correct the record, or the container",
        True,
    )
    MODEL_SERVER_ERROR = (
        "model_server_error",
        "failed",
        "the container failed (5xx), took too long, or failed for a cause that no event named",
        "see the container's log; raise `retry.outcomes.model_server_error.attempts`",
        True,
    )
    COUNT_MISMATCH = (
        "count_mismatch",
        "failed",
        "the answer does not hold one output a record",
        "correct the container, or `packing.framing` and `packing.answer`",
        True,
    )
    BAD_ANSWER = (
        "bad_answer",
        "failed",
        "the answer cannot be read as its content type and `packing.answer` say",
        "correct the container, or `packing.answer`",
        True,
    )
    ID_MISMATCH = (
        "id_mismatch",
        "failed",
        "the ids in the answer are not the keys of the records",
        "correct the container, or `packing.answer.id`",
        True,
    )
    OUTPUT_MISSING = (
        "output_missing",
        "failed",
        "it completed, and its output object is not there",
        "look for a rule that deletes outputs; raise `retry.outcomes.output_missing.attempts`",
    )
    OUTPUT_UNREADABLE = (
        "output_unreadable",
        "failed",
        "S3 refuses to give the output object",
        "see the message",
    )
    OUTPUT_TOO_LARGE = (
        "output_too_large",
        "failed",
        "the output is larger than `completion.max_output`",
        "raise `completion.max_output`",
        True,
    )
    SELECT_FAILED = (
        "select_failed",
        "failed",
        "`sink.select` fails on its result line; the output is at the place in the message",
        "correct `sink.select`",
    )
    EXPIRED = (
        "expired",
        "expired",
        "no completion within `request.ttl` + `request.timeout` + `completion.slack`",
        "raise `request.ttl`, or add instances; lower `limits.outstanding`",
        True,
    )
