"""InvokeEndpointAsync over our own HTTP connections: the hottest call of all."""

import hashlib
from urllib.parse import quote

import orjson

from dispatcher.aws.direct.caller import Caller, CallPurpose
from dispatcher.aws.direct.request import EMPTY_SHA256, Request, RequestTemplate
from dispatcher.aws.direct.sigv4 import canonical_value
from dispatcher.aws.requests import InvokeRequest, InvokeResponse, check_invocation

_PREFIX = "x-amzn-sagemaker-"

_MAX_SHARED = 64


class DirectRuntime:
    """Client of InvokeEndpointAsync.

    Args:
        caller: Caller of the service's address.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._shared: dict[tuple[object, ...], _SharedParts] = {}

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """Ask for an inference and return where its output will be.

        Raises:
            Throttled, Transient: It was not accepted; repeat it later.
            OutcomeUnknown: It was sent and got no response.
            Rejected: It will never be accepted.
            Denied: No request will, until a person fixes it.
        """
        check_invocation(request)
        shared = self._shared_parts(request)
        body, location = request.body, request.input_location
        located = "" if location is None else f"{_PREFIX}inputlocation:{location}\n"
        name, folder = request.filename, request.output_extension
        named = "" if name is None else f"{_PREFIX}filename:{name}\n"
        placed = "" if folder is None else f"{_PREFIX}s3outputpathextension:{folder}\n"
        response = await self._caller.call(
            Request(
                shared.template,
                shared.path,
                after=(
                    f"{shared.leading_lines}{named}"
                    f"{_PREFIX}inference-id:{request.inference_id}\n{located}"
                    f"{shared.trailing_lines}{placed}"
                ),
                body=body or b"",
                payload_hash=hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256,
                has_blanks="  " in located,
            ),
            shared.purpose,
            # A proxy between may not swap the responses of two requests.
            is_ours=lambda response: _answers_request(request.inference_id, response.body),
        )
        return InvokeResponse(
            response.header(b"x-amzn-sagemaker-outputlocation"),
            response.header(b"x-amzn-sagemaker-failurelocation"),
        )

    def _shared_parts(self, request: InvokeRequest) -> "_SharedParts":
        """Return the shared parts of a request: a run has two kinds, inline and not."""
        key = (
            request.endpoint,
            request.content_type,
            request.accept,
            request.custom_attributes,
            request.ttl,
            request.timeout,
            request.body is None,
            request.filename is None,
            request.output_extension is None,
        )
        shared = self._shared.get(key)
        if shared is None:
            if len(self._shared) >= _MAX_SHARED:
                self._shared.clear()
            shared = self._shared[key] = _SharedParts(request)
        return shared


def _answers_request(inference_id: str, body: bytes) -> bool:
    """Return whether a response names this id, or none."""
    if f'"{inference_id}"'.encode() in body or b"InferenceId" not in body:
        return True
    try:
        document = orjson.loads(body)  # the id may be escaped
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and document.get("InferenceId") in (None, inference_id)


class _SharedParts:
    """Parts that requests share which differ in their ids and payloads only."""

    def __init__(self, request: InvokeRequest) -> None:
        first = {
            "accept": request.accept,
            "content-type": request.content_type,
            "custom-attributes": request.custom_attributes,
        }
        last = {
            "invocationtimeoutseconds": str(request.timeout),
            "requestttlseconds": str(request.ttl),
        }
        located = ["inputlocation"] if request.body is None else []
        given = [name for name, value in first.items() if value is not None]
        named = [] if request.filename is None else ["filename"]
        placed = [] if request.output_extension is None else ["s3outputpathextension"]
        names = [*given, *named, "inference-id", *located, *last, *placed]
        self.template = RequestTemplate(
            "POST", after="".join(f";{_PREFIX}{name}" for name in names)
        )
        self.path = f"/endpoints/{quote(request.endpoint, safe='')}/async-invocations"
        self.leading_lines = "".join(
            f"{_PREFIX}{name}:{canonical_value(value)}\n"
            for name, value in first.items()
            if value is not None
        )
        self.trailing_lines = "".join(f"{_PREFIX}{name}:{value}\n" for name, value in last.items())
        self.purpose = CallPurpose(f"invoking endpoint {request.endpoint}", repeatable=False)
