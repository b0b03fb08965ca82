"""Requests and responses of the AWS calls that are made, for every transport."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from dispatcher import limits
from dispatcher.errors import Rejected


@dataclass(slots=True, kw_only=True)  # frozen, making one would cost 3 us of a call's 30
class InvokeRequest:
    """Request of InvokeEndpointAsync. Exactly one of ``body`` and ``input_location`` is given.

    Attributes:
        endpoint: EndpointName.
        inference_id: InferenceId.
        content_type: ContentType of the payload.
        output_extension: S3OutputPathExtension, or None: the service makes the output's key.
        filename: Filename of the output object, or None likewise.
        body: The payload, at most 128,000 bytes.
        input_location: ``s3://bucket/key`` of the payload.
        accept: Accept, or None.
        custom_attributes: CustomAttributes, or None.
        ttl: RequestTTLSeconds.
        timeout: InvocationTimeoutSeconds.
    """

    endpoint: str
    inference_id: str
    content_type: str
    output_extension: str | None
    filename: str | None
    body: bytes | None
    input_location: str | None
    accept: str | None
    custom_attributes: str | None
    ttl: int
    timeout: int


@dataclass(slots=True)
class InvokeResponse:
    """Response of InvokeEndpointAsync: locations of output and failure; either may be missing."""

    output_location: str | None
    failure_location: str | None


@dataclass(slots=True)
class SqsMessage:
    """A message of a queue.

    Attributes:
        body: Its text.
        receipt: Its ReceiptHandle, to delete or hide it; every delivery has another one.
        id: Its MessageId, which stays when it is delivered again.
    """

    body: str
    receipt: str
    id: str


@dataclass(slots=True, frozen=True)
class Location:
    """Bucket and key of an object."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(slots=True, frozen=True)
class PutOptions:
    """Encryption and tags of an object.

    Attributes:
        encryption: x-amz-server-side-encryption, or None: as the bucket says.
        kms_key: Id or ARN of the key of ``aws:kms``, or None.
        tagging: x-amz-tagging, see ``tagging_of``; or None.
    """

    encryption: str | None = None
    kms_key: str | None = None
    tagging: str | None = None


PLAIN = PutOptions()
"""As the bucket says, without tags."""


def tagging_of(tags: Mapping[str, str]) -> str | None:
    """Return tags as the header x-amz-tagging has them; None for none."""
    return urlencode(tags, quote_via=quote, safe="") or None


def check_invocation(request: InvokeRequest) -> None:
    """Reject a request that must never leave this machine, whatever the transport.

    Raises:
        Rejected: Not exactly one of body and input location, a body over the limit, or no id.
    """
    if (request.body is None) == (request.input_location is None):
        raise Rejected("a request needs either a body or an input location", code="BodyXor")
    if request.body is not None and len(request.body) > limits.INLINE_BODY_BYTES:
        raise Rejected(f"{len(request.body)} bytes do not fit inline", code="BodyTooLarge")
    if not request.inference_id:
        raise Rejected("a request needs an inference id", code="ParamValidation")
