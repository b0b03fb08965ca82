"""InvokeEndpointAsync over our own client: the hottest call of all."""

import hashlib
from urllib.parse import quote

import orjson

from dispatcher.aws.direct.caller import Caller, Doing
from dispatcher.aws.direct.request import EMPTY_SHA256, Form, Request
from dispatcher.aws.direct.sigv4 import canonical_value
from dispatcher.aws.requests import InvokeRequest, InvokeResponse, check_invocation

_PREFIX = "x-amzn-sagemaker-"

_MOST_KINDS = 64


class DirectRuntime:
    """Invokes endpoints.

    Args:
        caller: Of the service's address.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._kinds: dict[tuple[object, ...], _Kind] = {}

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """Ask for an inference and return where its output will be.

        Raises:
            Throttled, Transient: It was not accepted; the same request may be later.
            OutcomeUnknown: It was sent and no answer came.
            Rejected: It will never be accepted.
            Denied: Nothing will, until a person mends it.
        """
        check_invocation(request)
        kind = self._kind(request)
        body, location = request.body, request.input_location
        located = "" if location is None else f"{_PREFIX}inputlocation:{location}\n"
        name, folder = request.filename, request.output_extension
        named = "" if name is None else f"{_PREFIX}filename:{name}\n"
        placed = "" if folder is None else f"{_PREFIX}s3outputpathextension:{folder}\n"
        answer = await self._caller.call(
            Request(
                kind.form,
                kind.path,
                after=(
                    f"{kind.first}{named}"
                    f"{_PREFIX}inference-id:{request.inference_id}\n{located}{kind.last}{placed}"
                ),
                body=body or b"",
                payload_hash=hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256,
                has_blanks="  " in located,
            ),
            kind.doing,
            # Whatever lies between may not have two requests' answers change places.
            is_ours=lambda answer: _is_to(request.inference_id, answer.body),
        )
        return InvokeResponse(
            answer.header(b"x-amzn-sagemaker-outputlocation"),
            answer.header(b"x-amzn-sagemaker-failurelocation"),
        )

    def _kind(self, request: InvokeRequest) -> "_Kind":
        """Return what all requests like this one share: a run makes two kinds, inline and not."""
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
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _MOST_KINDS:
                self._kinds.clear()
            kind = self._kinds[key] = _Kind(request)
        return kind


def _is_to(inference_id: str, body: bytes) -> bool:
    """Return whether an answer is to the request of this id; one that names none is."""
    if f'"{inference_id}"'.encode() in body or b"InferenceId" not in body:
        return True
    try:
        said = orjson.loads(body)  # the id may be escaped
    except orjson.JSONDecodeError:
        return False
    return isinstance(said, dict) and said.get("InferenceId") in (None, inference_id)


class _Kind:
    """What requests share that differ in their ids and payloads only."""

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
        self.form = Form("POST", after="".join(f";{_PREFIX}{name}" for name in names))
        self.path = f"/endpoints/{quote(request.endpoint, safe='')}/async-invocations"
        self.first = "".join(
            f"{_PREFIX}{name}:{canonical_value(value)}\n"
            for name, value in first.items()
            if value is not None
        )
        self.last = "".join(f"{_PREFIX}{name}:{value}\n" for name, value in last.items())
        self.doing = Doing(f"invoking endpoint {request.endpoint}", repeatable=False)
