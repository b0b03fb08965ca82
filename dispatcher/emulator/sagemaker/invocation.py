"""Accepted invocations: the headers of a request, checked and read."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from dispatcher import limits
from dispatcher.emulator.http.message import Refusal
from dispatcher.emulator.sagemaker.call import HEADER

FILENAME_PATTERN = r"^(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9-_\.]*$"
"""Filename (B: FilenameHeader)."""

INFERENCE_ID_PATTERN = r"^[\x21-\x7e][\x20-\x7e]*$"
"""InferenceId, ``\\A\\S[\\p{Print}]*\\z`` in the model (B)."""

_ASCII_PATTERN = r"^[\x00-\x7f]*$"

# Header, name in messages, minimum and maximum characters, pattern.
_TEXTS: Final = (
    ("content-type", "contentType", 0, limits.HEADER_CHARS, _ASCII_PATTERN),
    ("accept", "accept", 0, limits.HEADER_CHARS, _ASCII_PATTERN),
    ("custom-attributes", "customAttributes", 0, limits.HEADER_CHARS, _ASCII_PATTERN),
    ("inference-id", "inferenceId", 1, limits.INFERENCE_ID_CHARS, INFERENCE_ID_PATTERN),
    (
        "inputlocation",
        "inputLocation",
        1,
        limits.INPUT_LOCATION_CHARS,
        limits.INPUT_LOCATION_PATTERN,
    ),
    (
        "s3outputpathextension",
        "s3OutputPathExtension",
        1,
        limits.OUTPUT_EXTENSION_CHARS,
        limits.OUTPUT_EXTENSION_PATTERN,
    ),
    ("filename", "filename", 1, limits.FILENAME_CHARS, FILENAME_PATTERN),
)
_COMPILED: Final = tuple(
    (HEADER + header, name, minimum, maximum, pattern, re.compile(pattern))
    for header, name, minimum, maximum, pattern in _TEXTS
)
_NUMBERS: Final = (
    (HEADER + "requestttlseconds", "requestTTLSeconds", *limits.REQUEST_TTL_SECONDS),
    (
        HEADER + "invocationtimeoutseconds",
        "invocationTimeoutSeconds",
        *limits.INVOCATION_TIMEOUT_SECONDS,
    ),
)


@dataclass(slots=True, kw_only=True)
class AcceptedInvocation:
    """One accepted request.

    Attributes:
        serial: Its number at this endpoint's emulator; names it in the journal.
        endpoint: The endpoint's name.
        inference_id: The caller's id, or one that the service makes.
        body: The inline payload; empty where ``input_location`` is set.
        input_location: Where the payload is, or None.
        content_type: As sent, or None; so ``accept`` and ``custom_attributes``.
        output_key: Key of the output object in the output bucket.
        failure_key: Key of the failure object.
        ttl: Longest wait in the queue, in seconds.
        timeout: Longest time for the model, in seconds.
        received: When it was accepted, in seconds since the epoch.
    """

    serial: int
    endpoint: str
    inference_id: str
    body: bytes
    input_location: str | None
    content_type: str | None
    accept: str | None
    custom_attributes: str | None
    output_key: str
    failure_key: str
    ttl: int
    timeout: int
    received: float


def check(headers: dict[str, str], body_bytes: int) -> None:
    """Check a request as InvokeEndpointAsync does.

    Args:
        headers: By lower-case name.
        body_bytes: Length of the HTTP body.

    Raises:
        Refusal: A 400 ValidationError that names all mistakes.
    """
    wrong = [
        f"Value '{_shown(value)}' at '{name}' failed to satisfy constraint: {rule}"
        for header, name, minimum, maximum, pattern, compiled in _COMPILED
        if (value := headers.get(header)) is not None
        and (rule := _broken_rule(value, minimum, maximum, pattern, compiled))
    ]
    for header, name, minimum, maximum in _NUMBERS:
        value = headers.get(header)
        if value is None:
            continue
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            wrong.append(f"Value '{_shown(value)}' at '{name}' is not an integer")
        elif int(value) < minimum:
            wrong.append(_number_wrong(value, name, f"greater than or equal to {minimum}"))
        elif int(value) > maximum:
            wrong.append(_number_wrong(value, name, f"less than or equal to {maximum}"))
    if body_bytes > limits.INLINE_BODY_BYTES:
        wrong.append(
            "Value at 'body' failed to satisfy constraint: Member must have length less than or "
            f"equal to {limits.INLINE_BODY_BYTES}"
        )
    if wrong:
        errors = "1 validation error" if len(wrong) == 1 else f"{len(wrong)} validation errors"
        raise Refusal(400, "ValidationError", f"{errors} detected: {'; '.join(wrong)}")
    located = HEADER + "inputlocation" in headers
    if located and body_bytes:
        raise Refusal(
            400, "ValidationError", "Body and InputLocation are mutually exclusive: provide one."
        )
    if not located and not body_bytes:
        raise Refusal(
            400,
            "ValidationError",
            "Either Body or InputLocation must be provided: both are missing.",
        )


def _broken_rule(
    value: str, minimum: int, maximum: int, pattern: str, compiled: re.Pattern[str]
) -> str | None:
    if len(value) < minimum:
        return f"Member must have length greater than or equal to {minimum}"
    if len(value) > maximum:
        return f"Member must have length less than or equal to {maximum}"
    # fullmatch: Python's $ would let a line break at the end pass.
    if not compiled.fullmatch(value):
        return f"Member must satisfy regular expression pattern: {pattern}"
    return None


def _number_wrong(value: str, name: str, rule: str) -> str:
    return (
        f"Value '{value}' at '{name}' failed to satisfy constraint: Member must have value {rule}"
    )


def _shown(value: str) -> str:
    return value if len(value) <= 100 else value[:100] + "..."


def read(
    endpoint: str, headers: dict[str, str], body: bytes, *, serial: int, now: float
) -> AcceptedInvocation:
    """Return the invocation of a request that has passed ``check``.

    Without a Filename the service makes a name that is unrelated to the InferenceId.
    """
    get = headers.get
    name = get(HEADER + "filename")
    made = None if name else str(uuid4())
    stem = made or str(name).rpartition(".")[0] or str(name)
    extension = (get(HEADER + "s3outputpathextension") or "").strip("/")
    sub_path = f"{extension}/" if extension else ""
    return AcceptedInvocation(
        serial=serial,
        endpoint=endpoint,
        inference_id=get(HEADER + "inference-id") or str(uuid4()),
        body=body,
        input_location=get(HEADER + "inputlocation"),
        content_type=get(HEADER + "content-type"),
        accept=get(HEADER + "accept"),
        custom_attributes=get(HEADER + "custom-attributes"),
        output_key=f"{endpoint}/output/{sub_path}{name or f'{made}.out'}",
        failure_key=f"{endpoint}/failure/{sub_path}{stem}-error.out",
        ttl=int(get(HEADER + "requestttlseconds") or limits.REQUEST_TTL_DEFAULT_SECONDS),
        timeout=int(
            get(HEADER + "invocationtimeoutseconds") or limits.INVOCATION_TIMEOUT_DEFAULT_SECONDS
        ),
        received=now,
    )
