"""What travels over the seam: requests and answers of exactly the calls that are made."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class InvokeRequest:
    """InvokeEndpointAsync. Exactly one of ``body`` and ``input_location`` is given.

    Attributes:
        endpoint: EndpointName.
        inference_id: InferenceId.
        content_type: ContentType of the payload.
        output_extension: S3OutputPathExtension.
        filename: Filename of the output object.
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
    output_extension: str
    filename: str
    body: bytes | None
    input_location: str | None
    accept: str | None
    custom_attributes: str | None
    ttl: int
    timeout: int


@dataclass(slots=True, frozen=True)
class Accepted:
    """The 202: where the output or the failure will be; either may be missing."""

    output_location: str | None
    failure_location: str | None


@dataclass(slots=True, frozen=True)
class Message:
    """A message of a queue with the receipt that deletes it."""

    body: str
    receipt: str


@dataclass(slots=True, frozen=True)
class Location:
    """Where an object lies."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"
