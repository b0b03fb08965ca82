"""Names of a SageMaker call: its operation, endpoint and InferenceId, read from a request."""

import re
from typing import Final
from urllib.parse import unquote

from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.message import HttpRequest

INVOKE: Final = "InvokeEndpointAsync"

HEADER: Final = "x-amzn-sagemaker-"
"""Begins the names of the headers of an invocation."""

_INVOKE_PATH: Final = re.compile(r"/endpoints/([^/?]+)/async-invocations")


def invoked_endpoint(request: HttpRequest) -> str | None:
    """Return the endpoint that a request would invoke, or None where it asks for anything else."""
    path = _INVOKE_PATH.fullmatch(request.raw_path)
    return unquote(path[1]) if path is not None and request.method == "POST" else None


def read_call(request: HttpRequest) -> Call:
    """Return the call that a request makes."""
    operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
    if not operation:
        endpoint = invoked_endpoint(request)
        if endpoint is not None:
            inference_id = request.headers.get(HEADER + "inference-id", "")
            return Call("sagemaker", INVOKE, endpoint, id=inference_id)
    return Call("sagemaker", operation)
