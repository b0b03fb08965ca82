"""Names of SageMaker calls."""

import pytest

from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import HttpRequest
from dispatcher.emulator.sagemaker.call import read_call

INVOKE = "/endpoints/my%2Done/async-invocations"


@pytest.mark.parametrize(
    ("method", "target", "headers", "call"),
    [
        (
            "POST",
            INVOKE,
            {"x-amzn-sagemaker-inference-id": "i"},
            Call("sagemaker", "InvokeEndpointAsync", "my-one", id="i"),
        ),
        ("POST", INVOKE, {}, Call("sagemaker", "InvokeEndpointAsync", "my-one")),
        ("GET", INVOKE, {}, Call("sagemaker", "")),
        ("POST", "/elsewhere", {}, Call("sagemaker", "")),
        (
            "POST",
            "/",
            {"x-amz-target": "SageMaker.DescribeEndpoint"},
            Call("sagemaker", "DescribeEndpoint"),
        ),
    ],
)
def test_a_call_has_its_operation_and_endpoint(
    method: str, target: str, headers: dict[str, str], call: Call
) -> None:
    assert read_call(HttpRequest(method, target, headers, Blob(0))) == call
