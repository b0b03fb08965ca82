"""InvokeEndpointAsync through aioboto3."""

from typing import Any

import anyio

from dispatcher.aws.error_mapping import translate
from dispatcher.aws.requests import InvokeRequest, InvokeResponse, check_invocation
from dispatcher.errors import OutcomeUnknown


class SdkRuntime:
    """The sagemaker-runtime client; see ``dispatcher.aws.transport.Runtime``.

    Args:
        client: aioboto3's client.
        total: Longest time of a call, in seconds.
    """

    def __init__(self, client: Any, total: float) -> None:
        self._client = client
        self._total = total

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """Ask for an inference and return where its output will be."""
        check_invocation(request)
        parameters: dict[str, Any] = {
            "EndpointName": request.endpoint,
            "InferenceId": request.inference_id,
            "ContentType": request.content_type,
            "RequestTTLSeconds": request.ttl,
            "InvocationTimeoutSeconds": request.timeout,
        }
        optional = {
            "Body": request.body,
            "InputLocation": request.input_location,
            "Accept": request.accept,
            "CustomAttributes": request.custom_attributes,
            "S3OutputPathExtension": request.output_extension,
            "Filename": request.filename,
        }
        parameters |= {name: value for name, value in optional.items() if value is not None}
        action = f"invoking endpoint {request.endpoint}"
        with translate(action, repeatable=False), anyio.fail_after(self._total):
            response = await self._client.invoke_endpoint_async(**parameters)
        if response.get("InferenceId") not in (None, request.inference_id):
            raise OutcomeUnknown(
                f"no response while {action}: the response is to another request", code="NoAnswer"
            )
        return InvokeResponse(response.get("OutputLocation"), response.get("FailureLocation"))
