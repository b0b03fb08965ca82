"""SQS over our own HTTP connections, in its JSON protocol."""

import hashlib
import json
from typing import Any

import orjson

from dispatcher import limits
from dispatcher.aws.direct.caller import Caller, CallPurpose
from dispatcher.aws.direct.request import Request, RequestTemplate
from dispatcher.errors import Transient

_TEMPLATE = RequestTemplate("POST", before="content-type;", after=";x-amz-target;x-amzn-query-mode")
_CONTENT_TYPE_LINE = "content-type:application/x-amz-json-1.0\n"

_MAX_RESPONSE_BYTES = 8 * limits.SQS_BATCH_BYTES
"""Longest response: a full batch with every character escaped, and its envelope."""


class DirectSqs:
    """SQS at one address; see ``dispatcher.aws.queue.SqsCalls``."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def call(self, operation: str, action: str, parameters: dict[str, object]) -> Any:
        """Call an operation and return its response."""
        try:
            body = orjson.dumps(parameters)
        except orjson.JSONEncodeError:
            body = json.dumps(parameters).encode()  # half of a surrogate pair: for SQS to refuse
        request = Request(
            _TEMPLATE,
            "",
            before=_CONTENT_TYPE_LINE,
            after=f"x-amz-target:AmazonSQS.{operation}\nx-amzn-query-mode:true\n",
            body=body,
            payload_hash=hashlib.sha256(body).hexdigest(),
        )
        response = await self._caller.call(
            request, CallPurpose(action), max_body_bytes=_MAX_RESPONSE_BYTES
        )
        try:
            return orjson.loads(response.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise Transient(f"no response while {action}: {error}", code="NoAnswer") from error
