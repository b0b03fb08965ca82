"""The cost of invocations besides the instances: price items, counted and priced; pure.

Prices are US dollars per million of a unit, us-east-1, from secondary sources of 2026: check them
before quoting. Not counted: instance hours, storage, data transfer, the sweep's requests to S3, and
the cost of the source and the sinks.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MESSAGE_UNIT_BYTES = 65_536
"""The unit that SNS and SQS charge as one request: 64 KB of a message, or of a batch."""

EVENT_BYTES = 1_000
"""A completion event without the response, in bytes; captured ones have 500 to 900."""

EVENT_RESPONSE_BYTES = 128_000
"""Largest response that travels in an event; a larger one is read from its object."""

_BATCH_MESSAGES = 10
_PER_MILLION = 1_000_000
CLASSIC_PART_BYTES = 8_388_608
"""boto3's ``upload_file`` sends from this size on in parts of this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
"""The prices that the user may override."""


def with_prices(given: Mapping[str, float]) -> Prices:
    """Return the default prices with some of them replaced; the names are ``PRICE_NAMES``."""
    return dataclasses.replace(Prices(), **given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """Assumptions about the price of an invocation that input and packing do not show.

    Attributes:
        events: Completions arrive through SNS and SQS.
        response_in_event: The response travels in the event where it is small enough.
        output_bytes: Bytes of one record's output.
        kms: Staged objects are encrypted with a KMS key.
    """

    events: bool = True
    response_in_event: bool = False
    output_bytes: int = 200
    kms: bool = False


@dataclass(slots=True, kw_only=True)
class Usage:
    """Usage of each price item; fractions where several messages share a call.

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
        """Add another usage a number of times."""
        for name in ITEMS:
            setattr(self, name, getattr(self, name) + times * getattr(other, name))

    def scaled(self, factor: float) -> "Usage":
        """Return a multiple of this usage."""
        scaled = Usage()
        scaled.add(self, factor)
        return scaled


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
        dollars: Their cost.
    """

    item: str
    count: float
    dollars: float


def bill(usage: Usage, prices: Prices) -> Iterator[Line]:
    """Yield all price items in a fixed order, even those without use."""
    for item, price in ITEMS.items():
        count: float = getattr(usage, item)
        yield Line(item, count, count * getattr(prices, price) / _PER_MILLION)


def total(usage: Usage, prices: Prices) -> float:
    """Return the cost of a usage, in US dollars."""
    return sum(line.dollars for line in bill(usage, prices))


def invocation(records: int, puts: int, assumed: Assumptions) -> Usage:
    """Return the usage of one invocation.

    Args:
        records: Number of records that share it.
        puts: PUT requests for its input object, see ``put_requests``; 0 where it travels inline.
        assumed: The other assumptions it depends on.
    """
    used = Usage(s3_input_put=float(puts), s3_output_put=1.0)
    if puts and assumed.kms:
        # A data key when the object is written, and its decryption when the endpoint reads it.
        used.kms = 2.0
    response = records * assumed.output_bytes
    in_event = assumed.events and assumed.response_in_event and response <= EVENT_RESPONSE_BYTES
    if not in_event:
        used.s3_output_get = 1.0
    if assumed.events:
        event = EVENT_BYTES + (4 * math.ceil(response / 3) if in_event else 0)
        used.sns_publish = _units(event)
        # Delivery from SNS to SQS is free; receiving and deleting are done ten at a time.
        used.sqs = (_units(_BATCH_MESSAGES * event) + 1) / _BATCH_MESSAGES
    return used


def classic(puts: int) -> Usage:
    """Return the usage of a record in the usual flow: uploaded, invoked, announced, fetched.

    Args:
        puts: PUT requests for its upload, see ``put_requests``.
    """
    return invocation(1, puts, Assumptions())


def put_requests(
    size: int, part_bytes: int = CLASSIC_PART_BYTES, parts_from: int = CLASSIC_PART_BYTES
) -> int:
    """Return the number of PUT requests charged for an upload.

    Args:
        size: Bytes of the object.
        part_bytes: Bytes of a part.
        parts_from: Bytes from which an object is uploaded in parts.
    """
    # Two more requests begin and complete a multipart upload.
    return 1 if size < parts_from else math.ceil(size / part_bytes) + 2


def _units(size: int) -> int:
    return max(1, math.ceil(size / MESSAGE_UNIT_BYTES))
