"""The reasons of dead letters: the one list, against which settings and documents are checked."""

from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias

Status: TypeAlias = Literal["completed", "failed", "expired", "rejected"]
"""``completed`` goes to the sink; the others are dead letters.

``failed``: the container, or the way to it, gave an error that no retry mends. ``expired``: no
answer within the deadline. ``rejected``: never invoked, because the record cannot be.
"""


class Reason(StrEnum):
    """Why a record is a dead letter; the value is the stable code in its line."""

    BAD_JSON = "bad_json"
    BAD_UTF8 = "bad_utf8"
    MISSING_KEY = "missing_key"
    BAD_KEY = "bad_key"
    BAD_COMPRESSION = "bad_compression"
    MISSING_FILE = "missing_file"
    UNREADABLE_FILE = "unreadable_file"
    EMPTY_FILE = "empty_file"
    CHANGED_FILE = "changed_file"
    TOO_LARGE = "too_large"
    NO_STAGING = "no_staging"
    NOT_ENCODABLE = "not_encodable"
    CALL_REJECTED = "call_rejected"
    CALL_TRANSIENT = "call_transient"
    CALL_UNKNOWN = "call_unknown"
    MODEL_ERROR = "model_error"
    MODEL_SERVER_ERROR = "model_server_error"
    COUNT_MISMATCH = "count_mismatch"
    BAD_ANSWER = "bad_answer"
    ID_MISMATCH = "id_mismatch"
    OUTPUT_MISSING = "output_missing"
    OUTPUT_UNREADABLE = "output_unreadable"
    OUTPUT_TOO_LARGE = "output_too_large"
    SELECT_FAILED = "select_failed"
    EXPIRED = "expired"

    @property
    def status(self) -> Status:
        """The status that goes with it."""
        return _FACTS[self].status

    @property
    def meaning(self) -> str:
        """The event behind the reason, as the documents describe it."""
        return _FACTS[self].meaning

    @property
    def remedy(self) -> str:
        """The remedy."""
        return _FACTS[self].remedy

    @property
    def can_split(self) -> bool:
        """One record of several can be to blame, so the invocation is split to find it.

        An output that is missing or may not be read is the fault of no record.
        """
        return _FACTS[self].can_split


class _Facts(NamedTuple):
    status: Status
    meaning: str
    remedy: str
    can_split: bool = False


_FACTS = {
    Reason.BAD_JSON: _Facts(
        "rejected",
        "the line or message is not one JSON value",
        "correct the input at the place that the message names",
    ),
    Reason.BAD_UTF8: _Facts(
        "rejected",
        "the line or message is not UTF-8 text",
        "convert the input to UTF-8, or send files as they are with `source.type: files`",
    ),
    Reason.MISSING_KEY: _Facts(
        "rejected",
        "the record has no field `source.key`",
        "name a field that every record has in `source.key`, or leave it out",
    ),
    Reason.BAD_KEY: _Facts(
        "rejected",
        "the field `source.key` is neither text nor a whole number, or too long",
        "name another field in `source.key`, or leave it out",
    ),
    Reason.BAD_COMPRESSION: _Facts(
        "rejected",
        "the compressed input is damaged from here on",
        "restore the file",
    ),
    Reason.MISSING_FILE: _Facts(
        "rejected",
        "the [file](sources.md) was listed, and is gone",
        "restore the file and replay the record",
    ),
    Reason.UNREADABLE_FILE: _Facts(
        "rejected",
        "the [file](sources.md) cannot be read, or is no regular file",
        "allow this user to read it",
    ),
    Reason.EMPTY_FILE: _Facts(
        "rejected",
        "the [file](sources.md) holds nothing",
        "remove it",
    ),
    Reason.CHANGED_FILE: _Facts(
        "rejected",
        "the [file](sources.md) changed while it was read",
        "replay the record when the file is complete",
    ),
    Reason.TOO_LARGE: _Facts(
        "rejected",
        "above `source.max_record`, or above the service's 1 GB",
        "raise `source.max_record`, or make the record smaller",
    ),
    Reason.NO_STAGING: _Facts(
        "rejected",
        "above 128,000 bytes, and no `staging.bucket`",
        "set `staging.bucket`",
    ),
    Reason.NOT_ENCODABLE: _Facts(
        "rejected",
        "no encoding can carry the record, see [packing](packing.md)",
        "choose another encoding in `packing.encodings`",
    ),
    Reason.CALL_REJECTED: _Facts(
        "rejected",
        "the service refused the request, but has accepted others (ten refusals first stop a run)",
        "see the message; correct the record",
    ),
    Reason.CALL_TRANSIENT: _Facts(
        "rejected",
        "its calls failed `retry.attempts` times while others succeeded",
        "see the message; replay the record, or raise `retry.attempts`",
    ),
    Reason.CALL_UNKNOWN: _Facts(
        "rejected",
        "its calls had no response `retry.attempts` times while others succeeded",
        "replay the record, or raise `retry.attempts`",
    ),
    Reason.MODEL_ERROR: _Facts(
        "failed",
        "the container refused the request (4xx); its message is in the line",
        "correct the record, or the container",
        can_split=True,
    ),
    Reason.MODEL_SERVER_ERROR: _Facts(
        "failed",
        "the container failed (5xx), took too long, or failed for a cause that no event named",
        "see the container's log; raise `retry.outcomes.model_server_error.attempts`",
        can_split=True,
    ),
    Reason.COUNT_MISMATCH: _Facts(
        "failed",
        "the answer does not hold one output a record",
        "correct the container, or `packing.framing` and `packing.answer`",
        can_split=True,
    ),
    Reason.BAD_ANSWER: _Facts(
        "failed",
        "the answer cannot be read as its content type and `packing.answer` say",
        "correct the container, or `packing.answer`",
        can_split=True,
    ),
    Reason.ID_MISMATCH: _Facts(
        "failed",
        "the ids in the answer are not the keys of the records",
        "correct the container, or `packing.answer.id`",
        can_split=True,
    ),
    Reason.OUTPUT_MISSING: _Facts(
        "failed",
        "it completed, and its output object is not there",
        "look for a rule that deletes outputs; raise `retry.outcomes.output_missing.attempts`",
    ),
    Reason.OUTPUT_UNREADABLE: _Facts(
        "failed",
        "S3 refuses to give the output object",
        "see the message",
    ),
    Reason.OUTPUT_TOO_LARGE: _Facts(
        "failed",
        "the output is larger than `completion.max_output`",
        "raise `completion.max_output`",
        can_split=True,
    ),
    Reason.SELECT_FAILED: _Facts(
        "failed",
        "`sink.select` fails on its result line; the output is at the place in the message",
        "correct `sink.select`",
    ),
    Reason.EXPIRED: _Facts(
        "expired",
        "no completion within `request.ttl` + `request.timeout` + `completion.slack`",
        "raise `request.ttl`, or add instances; lower `limits.outstanding`",
        can_split=True,
    ),
}
