"""SageMaker over its REST and JSON protocols: InvokeEndpointAsync and descriptions."""

from collections.abc import Mapping
from itertools import count
from typing import Any, Final

import orjson

from dispatcher.emulator.auth.refusals import CommonSignatureRefusals
from dispatcher.emulator.clock import Clock
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.message import HttpRequest, HttpResponse, Refusal
from dispatcher.emulator.sagemaker import invocation
from dispatcher.emulator.sagemaker.accepted_log import AcceptedLog
from dispatcher.emulator.sagemaker.call import invoked_endpoint, read_call
from dispatcher.emulator.sagemaker.describe import describe
from dispatcher.emulator.sagemaker.endpoint import Endpoint
from dispatcher.emulator.sqs.long_poll import ACCOUNT

_TYPE_SUFFIX: Final = ":http://internal.amazon.com/coral/com.amazon.coral.service/"
_JSON: Final = "application/json"
_MODELLED: Final = {"ValidationError", "InternalFailure", "ServiceUnavailable"}


class SageMaker:
    """Answers the calls of sagemaker-runtime and sagemaker, which sign with one name.

    Args:
        endpoints: By name.
        clock: Time.
        bucket: The output bucket.
        events: Whether events are published.
        response_in_event: Whether small responses travel in the event.
        region: AWS region.
        accepted: Journal of open invocations, or None.
    """

    request_id_header = "x-amzn-RequestId"
    missing_signature = Refusal(
        403, "MissingAuthenticationTokenException", "Missing Authentication Token"
    )
    access_denied = Refusal(
        403,
        "AccessDeniedException",
        "User: arn:aws:iam::000000000000:user/denied is not authorized to perform this action",
    )
    malformed_body = "SerializationException"
    signature_refusals = CommonSignatureRefusals()

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        *,
        clock: Clock,
        bucket: str,
        region: str,
        events: bool,
        response_in_event: bool,
        accepted: AcceptedLog | None,
    ) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._bucket = bucket
        self._region = region
        self._events = events
        self._response_in_event = response_in_event
        self._accepted = accepted
        self._serials = count(1 if accepted is None else accepted.next_serial)

    def read_call(self, request: HttpRequest) -> Call:
        """Return the call that a request makes."""
        return read_call(request)

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a signed request."""
        target = request.headers.get("x-amz-target", "")
        if target.startswith("SageMaker."):
            return self._describe(target.removeprefix("SageMaker."), request)
        name = invoked_endpoint(request)
        if name is None:
            raise Refusal(404, "UnknownOperationException", "The emulator has no such operation.")
        return self._invoke(name, request)

    def _invoke(self, name: str, request: HttpRequest) -> HttpResponse:
        endpoint = self._endpoints.get(name)
        invocation.check(request.headers, request.body.size)
        if endpoint is None:
            raise Refusal(
                400, "ValidationError", f"Endpoint {name} of account {ACCOUNT} not found."
            )
        taken = invocation.read(
            name,
            request.headers,
            request.body.data,
            serial=next(self._serials),
            now=self._clock.now(),
        )
        if self._accepted is not None:
            self._accepted.add(taken)
        endpoint.offer(taken)
        return HttpResponse(
            202,
            {
                "Content-Type": _JSON,
                "X-Amzn-SageMaker-OutputLocation": f"s3://{self._bucket}/{taken.output_key}",
                "X-Amzn-SageMaker-FailureLocation": f"s3://{self._bucket}/{taken.failure_key}",
            },
            orjson.dumps({"InferenceId": taken.inference_id}),
        )

    def _describe(self, operation: str, request: HttpRequest) -> HttpResponse:
        try:
            asked: Any = orjson.loads(request.body.read() or b"{}")
        except orjson.JSONDecodeError:
            asked = None
        if not isinstance(asked, dict):
            raise Refusal(400, "SerializationException", "The body is not a JSON object.")
        description = describe(
            operation,
            asked,
            endpoints=self._endpoints,
            region=self._region,
            bucket=self._bucket,
            events=self._events,
            response_in_event=self._response_in_event,
        )
        return HttpResponse(
            200, {"Content-Type": "application/x-amz-json-1.1"}, orjson.dumps(description)
        )

    def refuse(self, request: HttpRequest, refusal: Refusal) -> HttpResponse:
        """Answer with an error in SageMaker's shape: its type is in a header."""
        if request.headers.get("x-amz-target"):
            body = {"__type": refusal.code, "message": refusal.message}
            headers = {"Content-Type": "application/x-amz-json-1.1"}
            return HttpResponse(refusal.status, headers, orjson.dumps(body))
        # Modelled errors spell their member with a capital, those of the front door do not.
        member = "Message" if refusal.code in _MODELLED else "message"
        headers = {"Content-Type": _JSON, "x-amzn-ErrorType": refusal.code + _TYPE_SUFFIX}
        return HttpResponse(refusal.status, headers, orjson.dumps({member: refusal.message}))
