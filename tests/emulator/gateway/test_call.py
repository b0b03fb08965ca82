"""What a request is called."""

import orjson
import pytest

from dispatcher.emulator.gateway.call import Call, read_call
from dispatcher.emulator.http.blob import SPOOL_BYTES, Blob
from dispatcher.emulator.http.message import HttpRequest

INVOKE = "/endpoints/my%2Done/async-invocations"
QUEUE = orjson.dumps({"QueueUrl": "http://localhost/000000000000/q"})


@pytest.mark.parametrize(
    ("method", "target", "headers", "call"),
    [
        ("GET", "/b/a/k", {}, Call("s3", "GetObject", "b/a/k")),
        ("HEAD", "/b/k", {}, Call("s3", "HeadObject", "b/k")),
        ("PUT", "/b/k%20k", {}, Call("s3", "PutObject", "b/k k")),
        ("PUT", "/k", {"host": "b.localhost:1"}, Call("s3", "PutObject", "b/k")),
        ("DELETE", "/b/k", {}, Call("s3", "DeleteObject", "b/k")),
        ("PATCH", "/b/k", {}, Call("s3", "", "b/k")),
        ("POST", "/b/k?uploads", {}, Call("s3", "CreateMultipartUpload", "b/k")),
        ("PUT", "/b/k?partNumber=1&uploadId=u", {}, Call("s3", "UploadPart", "b/k")),
        ("POST", "/b/k?uploadId=u", {}, Call("s3", "CompleteMultipartUpload", "b/k")),
        ("DELETE", "/b/k?uploadId=u", {}, Call("s3", "AbortMultipartUpload", "b/k")),
        ("GET", "/b?list-type=2", {}, Call("s3", "ListObjectsV2", "b")),
        ("HEAD", "/b", {}, Call("s3", "HeadBucket", "b")),
        ("PUT", "/b", {}, Call("s3", "CreateBucket", "b")),
        ("POST", "/b?delete", {}, Call("s3", "DeleteObjects", "b")),
    ],
)
def test_a_call_to_s3(method: str, target: str, headers: dict[str, str], call: Call) -> None:
    assert read_call("s3", HttpRequest(method, target, headers, Blob(0))) == call


@pytest.mark.parametrize(
    ("body", "queue"),
    [
        (QUEUE, "q"),
        (b"", ""),
        (b"{broken", ""),
        (b"[]", ""),
        (b'{"QueueUrl": 5}', ""),
        (QUEUE + b" " * SPOOL_BYTES, ""),
    ],
)
def test_a_call_to_sqs(body: bytes, queue: str) -> None:
    headers = {"x-amz-target": "AmazonSQS.ReceiveMessage"}
    request = HttpRequest("POST", "/", headers, Blob.of(body))
    assert read_call("sqs", request) == Call("sqs", "ReceiveMessage", queue)


@pytest.mark.parametrize(
    ("method", "target", "headers", "call"),
    [
        (
            "POST",
            INVOKE,
            {"x-amzn-sagemaker-inference-id": "i"},
            Call("sagemaker", "InvokeEndpointAsync", "my-one", "i"),
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
def test_a_call_to_sagemaker(method: str, target: str, headers: dict[str, str], call: Call) -> None:
    assert read_call("sagemaker", HttpRequest(method, target, headers, Blob(0))) == call


def test_a_call_to_sns_has_no_name() -> None:
    assert read_call("sns", HttpRequest("POST", "/", {}, Blob(0))) == Call("sns", "")
