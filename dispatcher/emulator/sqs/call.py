"""Names of an SQS call: its operation and queue, read from a request."""

import orjson

from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.blob import SPOOL_BYTES
from dispatcher.emulator.http.message import HttpRequest


def read_call(request: HttpRequest) -> Call:
    """Return the call that a request makes; a body that is no request names no queue."""
    operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
    return Call("sqs", operation, _queue(request))


def _queue(request: HttpRequest) -> str:
    if request.body.size > SPOOL_BYTES:
        return ""
    try:
        asked = orjson.loads(request.body.read())
    except orjson.JSONDecodeError:
        return ""
    url = asked.get("QueueUrl") if isinstance(asked, dict) else None
    return url.rpartition("/")[2] if isinstance(url, str) else ""
