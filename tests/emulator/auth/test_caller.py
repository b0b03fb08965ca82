"""The caller and the service of a request."""

from dataclasses import replace

import pytest

from dispatcher.emulator.auth.caller import CallerIdentity, meant_service, read_caller
from dispatcher.emulator.http.blob import Blob
from dispatcher.emulator.http.message import HttpRequest
from tests.emulator.auth.requests import (
    DATED,
    by_hand,
    presigned,
)

# Which service


@pytest.mark.parametrize(
    ("method", "target", "headers", "service"),
    [
        ("PUT", "/b/k", {"content-type": "application/x-www-form-urlencoded"}, "s3"),
        ("GET", "/endpoints/k", {}, "s3"),
        ("POST", "/endpoints/k?uploads", {}, None),
        ("POST", "/endpoints/e/async-invocations", {}, "sagemaker"),
        ("POST", "/", {"x-amz-target": "SageMaker.DescribeEndpoint"}, "sagemaker"),
        ("POST", "/", {"x-amz-target": "AmazonSQS.ListQueues"}, "sqs"),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded; a=b"}, "sns"),
        ("POST", "/", {}, None),
    ],
)
def test_service_is_known_by_its_protocol(
    method: str, target: str, headers: dict[str, str], service: str | None
) -> None:
    assert meant_service(HttpRequest(method, target, headers, Blob(0))) == service


def made_caller(service: str, signed_headers: str, signature: str) -> CallerIdentity:
    return CallerIdentity(
        key="emulator",
        date="20240229",
        region="us-east-1",
        service=service,
        signed_headers=signed_headers,
        signature=signature,
    )


def test_caller_is_read_from_either_place() -> None:
    digits = "0" * 64
    request = by_hand("sqs", DATED)
    request.headers["authorization"] = (
        "AWS4-HMAC-SHA256 Credential=emulator/20240229/us-east-1/sqs/aws4_request,"
        f"SignedHeaders=host;x-amz-meta-a!b,Signature={digits}"
    )
    assert read_caller(request) == made_caller("sqs", "host;x-amz-meta-a!b", digits)
    caller = read_caller(presigned())
    assert caller is not None
    assert replace(caller, signature=digits) == replace(
        made_caller("s3", "host", digits), presigned=True
    )
