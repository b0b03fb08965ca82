"""SageMaker: InvokeEndpointAsync, and what describes an endpoint."""

from collections.abc import Mapping
from itertools import count
from typing import Any, Final

import orjson

from dispatcher.emulator import invocation
from dispatcher.emulator.accepted import Accepted
from dispatcher.emulator.clock import Clock
from dispatcher.emulator.control_plane import describe
from dispatcher.emulator.endpoint import Endpoint
from dispatcher.emulator.http import Refusal, Request, Response
from dispatcher.emulator.mailbox import ACCOUNT
from dispatcher.emulator.signature_refusals import CommonSigning

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
    signing = CommonSigning()

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        *,
        clock: Clock,
        bucket: str,
        region: str,
        events: bool,
        response_in_event: bool,
        accepted: Accepted | None,
    ) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._bucket = bucket
        self._region = region
        self._events = events
        self._response_in_event = response_in_event
        self._accepted = accepted
        self._serials = count(1 if accepted is None else accepted.next_serial)

    def answer(self, request: Request) -> Response:
        """Answer a signed request."""
        target = request.headers.get("x-amz-target", "")
        if target.startswith("SageMaker."):
            return self._describe(target.removeprefix("SageMaker."), request)
        name = invocation.invoked_endpoint(request)
        if name is None:
            raise Refusal(404, "UnknownOperationException", "The emulator has no such operation.")
        return self._invoke(name, request)

    def _invoke(self, name: str, request: Request) -> Response:
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
        return Response(
            202,
            {
                "Content-Type": _JSON,
                "X-Amzn-SageMaker-OutputLocation": f"s3://{self._bucket}/{taken.output_key}",
                "X-Amzn-SageMaker-FailureLocation": f"s3://{self._bucket}/{taken.failure_key}",
            },
            orjson.dumps({"InferenceId": taken.inference_id}),
        )

    def _describe(self, operation: str, request: Request) -> Response:
        try:
            asked: Any = orjson.loads(request.body.read() or b"{}")
        except orjson.JSONDecodeError:
            asked = None
        if not isinstance(asked, dict):
            raise Refusal(400, "SerializationException", "The body is not a JSON object.")
        answer = describe(
            operation,
            asked,
            endpoints=self._endpoints,
            region=self._region,
            bucket=self._bucket,
            events=self._events,
            response_in_event=self._response_in_event,
        )
        return Response(200, {"Content-Type": "application/x-amz-json-1.1"}, orjson.dumps(answer))

    def refuse(self, request: Request, refusal: Refusal) -> Response:
        """Answer with an error in SageMaker's shape: its type is in a header."""
        if request.headers.get("x-amz-target"):
            body = {"__type": refusal.code, "message": refusal.message}
            headers = {"Content-Type": "application/x-amz-json-1.1"}
            return Response(refusal.status, headers, orjson.dumps(body))
        # Modelled errors spell their member with a capital, those of the front door do not.
        member = "Message" if refusal.code in _MODELLED else "message"
        headers = {"Content-Type": _JSON, "x-amzn-ErrorType": refusal.code + _TYPE_SUFFIX}
        return Response(refusal.status, headers, orjson.dumps({member: refusal.message}))
