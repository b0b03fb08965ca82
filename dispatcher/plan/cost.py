"""What invocations cost besides the instances: price items, counted and priced; pure.

Prices are US dollars per million of a unit, us-east-1, from secondary sources of 2026: to be
checked before they are quoted. Instance hours, storage, data transfer, looks into S3, and what the
source and the sinks cost are not counted.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MESSAGE_UNIT_BYTES = 65_536
"""What SNS and SQS charge as one request: each 64 KB of a message, or of a batch."""

EVENT_BYTES = 1_000
"""A completion event without the response, in bytes; captured ones have 500 to 900."""

EVENT_RESPONSE_BYTES = 128_000
"""Largest response that travels in an event; a larger one is read from its object."""

_BATCH_MESSAGES = 10
_PER_MILLION = 1_000_000
CLASSIC_PART_BYTES = 8_388_608
"""boto3's ``upload_file`` sends from this size on in parts of this size."""


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million.

    Attributes:
        s3_put: PUT, POST or LIST requests; each part of a multipart upload is one.
        s3_get: GET or HEAD requests.
        sns_publish: 64 KB units published.
        sqs_request: 64 KB units of a call; ten small messages in one call are one.
        kms_request: Requests to KMS.
    """

    s3_put: float = 5.0
    s3_get: float = 0.4
    sns_publish: float = 0.5
    sqs_request: float = 0.4
    kms_request: float = 3.0


PRICE_NAMES = tuple(field.name for field in dataclasses.fields(Prices))
"""What may be overridden."""


def with_prices(given: Mapping[str, float]) -> Prices:
    """Return the default prices with some of them replaced; the names are ``PRICE_NAMES``."""
    return dataclasses.replace(Prices(), **given)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the price of an invocation depends on, and neither input nor packing tell.

    Attributes:
        events: Completions are heard of through SNS and SQS.
        response_in_event: The response travels in the event where it is small enough.
        output_bytes: Bytes of one record's output.
        kms: Staged objects are encrypted with a key of KMS.
    """

    events: bool = True
    response_in_event: bool = False
    output_bytes: int = 200
    kms: bool = False


@dataclass(slots=True)
class Usage:
    """How much of each price item is used; fractions where a call is shared by several messages.

    Attributes:
        s3_input_put: PUT requests for staged inputs.
        s3_output_put: PUT requests for outputs, which the service makes.
        s3_output_get: GET requests for outputs.
        sns_publish: 64 KB units that the service publishes.
        sqs: 64 KB units of receiving and deleting events.
        kms: Requests that S3 makes to KMS for staged objects.
    """

    s3_input_put: float = 0.0
    s3_output_put: float = 0.0
    s3_output_get: float = 0.0
    sns_publish: float = 0.0
    sqs: float = 0.0
    kms: float = 0.0

    def add(self, other: "Usage", times: float = 1.0) -> None:
        """Count another usage on top, as often as told."""
        for name in ITEMS:
            setattr(self, name, getattr(self, name) + times * getattr(other, name))

    def scaled(self, factor: float) -> "Usage":
        """Return so many times this."""
        found = Usage()
        found.add(self, factor)
        return found


ITEMS = {
    "s3_input_put": "s3_put",
    "s3_output_put": "s3_put",
    "s3_output_get": "s3_get",
    "sns_publish": "sns_publish",
    "sqs": "sqs_request",
    "kms": "kms_request",
}
"""The price of each item."""


@dataclass(frozen=True, slots=True)
class Line:
    """One price item of a bill.

    Attributes:
        item: Its name, see ``ITEMS``.
        count: How many units.
        dollars: What they cost.
    """

    item: str
    count: float
    dollars: float


def bill(usage: Usage, prices: Prices) -> Iterator[Line]:
    """Yield the price items in a fixed order, those that are not used included."""
    for item, price in ITEMS.items():
        count: float = getattr(usage, item)
        yield Line(item, count, count * getattr(prices, price) / _PER_MILLION)


def total(usage: Usage, prices: Prices) -> float:
    """Return what a usage costs, in US dollars."""
    return sum(line.dollars for line in bill(usage, prices))


def invocation(records: int, puts: int, assumed: Assumptions) -> Usage:
    """Return what one invocation uses.

    Args:
        records: How many records share it.
        puts: PUT requests for its input object, see ``put_requests``; 0 where it travels inline.
        assumed: What else it depends on.
    """
    used = Usage(s3_input_put=float(puts), s3_output_put=1.0)
    if puts and assumed.kms:
        # A data key when the object is written, and its decryption when the endpoint reads it.
        used.kms = 2.0
    response = records * assumed.output_bytes
    told = assumed.events and assumed.response_in_event and response <= EVENT_RESPONSE_BYTES
    if not told:
        used.s3_output_get = 1.0
    if assumed.events:
        event = EVENT_BYTES + (4 * math.ceil(response / 3) if told else 0)
        used.sns_publish = _units(event)
        # Delivery from SNS to SQS is free; receiving and deleting are done ten at a time.
        used.sqs = (_units(_BATCH_MESSAGES * event) + 1) / _BATCH_MESSAGES
    return used


def classic(puts: int) -> Usage:
    """Return what a record uses in today's usual flow: uploaded, invoked, announced, fetched.

    Args:
        puts: PUT requests for its upload, see ``put_requests``.
    """
    return invocation(1, puts, Assumptions())


def put_requests(
    size: int, part_bytes: int = CLASSIC_PART_BYTES, parts_from: int = CLASSIC_PART_BYTES
) -> int:
    """Return how many PUT requests an upload is charged as.

    Args:
        size: Bytes of the object.
        part_bytes: Bytes of a part.
        parts_from: Bytes from which an object is uploaded in parts.
    """
    # A multipart upload is begun and completed besides its parts.
    return 1 if size < parts_from else math.ceil(size / part_bytes) + 2


def _units(size: int) -> int:
    return max(1, math.ceil(size / MESSAGE_UNIT_BYTES))
