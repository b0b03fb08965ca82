"""SQS over our own client, in its JSON protocol."""

import hashlib
import json
from typing import Any

import orjson

from dispatcher import limits
from dispatcher.aws.direct.caller import Caller, Doing
from dispatcher.aws.direct.request import Form, Request
from dispatcher.errors import Transient

_FORM = Form("POST", before="content-type;", after=";x-amz-target;x-amzn-query-mode")
_TYPE = "content-type:application/x-amz-json-1.0\n"

_ANSWER_BYTES = 8 * limits.SQS_BATCH_BYTES
"""Most bytes of an answer: a full batch, every character of it escaped, and what is around."""


class DirectSqs:
    """SQS at one address; see ``dispatcher.aws.queue.SqsCalls``."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def call(self, operation: str, doing: str, parameters: dict[str, object]) -> Any:
        """Call an operation and return its answer."""
        try:
            body = orjson.dumps(parameters)
        except orjson.JSONEncodeError:
            body = json.dumps(parameters).encode()  # half of a surrogate pair: for SQS to refuse
        request = Request(
            _FORM,
            "",
            before=_TYPE,
            after=f"x-amz-target:AmazonSQS.{operation}\nx-amzn-query-mode:true\n",
            body=body,
            payload_hash=hashlib.sha256(body).hexdigest(),
        )
        answer = await self._caller.call(request, Doing(doing), max_body_bytes=_ANSWER_BYTES)
        try:
            return orjson.loads(answer.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise Transient(f"no answer while {doing}: {error}", code="NoAnswer") from error
