"""Names of SQS calls."""

import orjson
import pytest

from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.blob import SPOOL_BYTES, Blob
from dispatcher.emulator.http.message import HttpRequest
from dispatcher.emulator.sqs.call import read_call

QUEUE = orjson.dumps({"QueueUrl": "http://localhost/000000000000/q"})


@pytest.mark.parametrize(
    ("body", "queue"),
    [
        (QUEUE, "q"),
        (b"", ""),
        (b"{broken", ""),
        (b"[]", ""),
        (b'{"QueueUrl": 5}', ""),
        (QUEUE + b" " * SPOOL_BYTES, ""),
    ],
)
def test_a_call_has_its_operation_and_queue(body: bytes, queue: str) -> None:
    headers = {"x-amz-target": "AmazonSQS.ReceiveMessage"}
    request = HttpRequest("POST", "/", headers, Blob.of(body))
    assert read_call(request) == Call("sqs", "ReceiveMessage", queue)
