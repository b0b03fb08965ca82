"""Completion events, parsed from messages of the queue in every captured form. Pure.

* SageMaker's own event, raw or in SNS's envelope.
* S3 events (keys form-URL-encoded) and EventBridge's variant (keys as they are), where the output
  folder announces its objects instead.
* Test events of SageMaker, SNS and S3, which mean nothing.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote_plus

import orjson

from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import Location

Kind: TypeAlias = Literal["completed", "failed", "expired"]


@dataclass(slots=True)
class Completion:
    """The service's word on one invocation.

    Attributes:
        kind: Its end.
        invocation: Its InferenceId, or None where the event has only a location.
        location: The output or failure object, or None if the event does not say.
        body: The output or the container's error, where it travels in the event.
        content_type: Its MIME type, or None.
        reason: The service's failure reason, or "".
        service_seconds: Its queue and model time, or None.
    """

    kind: Kind
    invocation: str | None
    location: Location | None
    _: KW_ONLY
    body: bytes | None = None
    content_type: str | None = None
    reason: str = ""
    service_seconds: float | None = None


@dataclass(slots=True, frozen=True)
class NoCompletion:
    """A message that completes nothing.

    Attributes:
        why: ``test``; ``malformed``; or ``foreign``: an object that is no output.
    """

    why: Literal["test", "malformed", "foreign"]


_KINDS: dict[str, Kind] = {"Completed": "completed", "Failed": "failed", "Expired": "expired"}
_SUFFIX, _FAILURE_SUFFIX = ".out", "-error.out"


def parse(text: str) -> list[Completion | NoCompletion]:
    """Return what a message says: one completion, or for S3 events one for each object."""
    try:
        event = orjson.loads(text)
        if isinstance(event, dict) and event.get("Type") == "Notification" and "Message" in event:
            event = orjson.loads(event["Message"])
        return list(_read(event)) or [NoCompletion("malformed")]
    except (ValueError, TypeError, KeyError, AttributeError):
        return [NoCompletion("malformed")]


def _read(event: Any) -> Iterator[Completion | NoCompletion]:
    if event.get("eventName") == "TestNotification" or event.get("Event") == "s3:TestEvent":
        yield NoCompletion("test")
    elif "Records" in event:
        for record in event["Records"]:
            s3 = record["s3"]
            key = unquote_plus(s3["object"]["key"])
            made = "ObjectCreated" in (record.get("eventName") or "ObjectCreated")
            yield _object(s3["bucket"]["name"], key, made=made)
    elif "detail" in event and "object" in event["detail"]:
        detail = event["detail"]
        made = event.get("detail-type", "Object Created") == "Object Created"
        yield _object(detail["bucket"]["name"], detail["object"]["key"], made=made)
    elif (kind := _KINDS.get(event.get("invocationStatus"))) is not None:
        yield _inference(kind, event)
    else:
        yield NoCompletion("malformed")


def _inference(kind: Kind, event: dict[str, Any]) -> Completion:
    parameters = event.get("responseParameters") or {}
    response_body = event.get("responseBody") or {}
    name = parameters.get("outputLocation" if kind == "completed" else "failureLocation")
    location = parse_location(name) if name else None
    invocation = _text(event.get("inferenceId"))
    if not invocation and location:
        invocation = invocation_at(location)
    return Completion(
        kind,
        invocation,
        location,
        body=_content(response_body),
        content_type=_text(parameters.get("contentType")),
        reason=str(event.get("failureReason") or ""),
        service_seconds=_service_seconds(event),
    )


def _content(response_body: dict[str, Any]) -> bytes | None:
    """Return the body in the event; missing, null and empty mean that it is in the object."""
    content = response_body.get("content")
    if not content or response_body.get("encoding", "BASE64") != "BASE64":
        return None
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        return None


def _service_seconds(event: dict[str, Any]) -> float | None:
    try:
        received = datetime.fromisoformat(event["receivedTime"])
        return max(0.0, (datetime.fromisoformat(event["eventTime"]) - received).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None


def _object(bucket: object, key: object, *, made: bool) -> Completion | NoCompletion:
    if not isinstance(bucket, str) or not isinstance(key, str):
        return NoCompletion("malformed")
    if not made or not key.endswith(_SUFFIX):
        # It was removed, or is no output: staged inputs may lie beside them.
        return NoCompletion("foreign")
    location = Location(bucket, key)
    failed = key.endswith(_FAILURE_SUFFIX)
    return Completion("failed" if failed else "completed", invocation_at(location), location)


def invocation_at(location: Location) -> str:
    """Return the id in the name of an output or failure object, as we chose it."""
    name = location.key.rpartition("/")[2]
    return name.removesuffix(_FAILURE_SUFFIX).removesuffix(_SUFFIX)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
