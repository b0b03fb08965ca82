"""InvokeEndpointAsync."""

from typing import Any

from dispatcher import limits
from dispatcher.aws.calls import Accepted, InvokeRequest
from dispatcher.aws.mapping import translate
from dispatcher.errors import Rejected


class Runtime:
    """The sagemaker-runtime client, with just the call that is made."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def invoke(self, request: InvokeRequest) -> Accepted:
        """Ask for an inference and return where its output will be.

        Raises:
            Throttled, Transient: It was not accepted; the same request may be later.
            OutcomeUnknown: It was sent and no answer came.
            Rejected: It will never be accepted.
            Denied: Nothing will, until a person mends it.
        """
        if (request.body is None) == (request.input_location is None):
            raise Rejected("a request needs either a body or an input location", code="BodyXor")
        if request.body is not None and len(request.body) > limits.INLINE_BODY_BYTES:
            raise Rejected(f"{len(request.body)} bytes do not fit inline", code="BodyTooLarge")
        parameters: dict[str, Any] = {
            "EndpointName": request.endpoint,
            "InferenceId": request.inference_id,
            "ContentType": request.content_type,
            "S3OutputPathExtension": request.output_extension,
            "Filename": request.filename,
            "RequestTTLSeconds": request.ttl,
            "InvocationTimeoutSeconds": request.timeout,
        }
        optional = {
            "Body": request.body,
            "InputLocation": request.input_location,
            "Accept": request.accept,
            "CustomAttributes": request.custom_attributes,
        }
        parameters |= {name: value for name, value in optional.items() if value is not None}
        with translate(f"invoking endpoint {request.endpoint}", repeatable=False):
            answer = await self._client.invoke_endpoint_async(**parameters)
        return Accepted(answer.get("OutputLocation"), answer.get("FailureLocation"))
