"""Requests that reach no service, or only with a refusal."""

import hashlib
from typing import Any

import pytest

from dispatcher.emulator.server import Emulator


async def test_unknown_service_is_named(wire: Any) -> None:
    reply = await wire.ask("POST", "/", service="dynamodb")
    assert reply.status == 404
    assert b"dynamodb" in reply.body


@pytest.mark.parametrize(
    ("service", "target"),
    [("sagemaker", "/endpoints/emulated/async-invocations"), ("sqs", "/"), ("sns", "/")],
)
async def test_malformed_aws_chunked_body_is_refused_by_every_service(
    wire: Any, emulator: Emulator, service: str, target: str
) -> None:
    headers = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
    reply = await wire.ask("POST", target, headers, b"3\r\nabcd", service=service)
    assert reply.status == 400
    assert b"malformed" in reply.body
    assert emulator.endpoint("emulated").accepted == 0


@pytest.mark.parametrize(
    ("service", "target", "body", "code"),
    [
        (
            "sagemaker",
            "/endpoints/emulated/async-invocations",
            b"{}",
            "InvalidSignatureException",
        ),
        ("sqs", "/", b'{"QueueName": "completions"}', "InvalidSignatureException"),
        ("sns", "/", b"Action=ListTopics", "SignatureDoesNotMatch"),
    ],
)
async def test_body_must_be_the_one_that_was_signed(
    wire: Any, service: str, target: str, body: bytes, code: str
) -> None:
    headers = {"X-Amz-Target": "AmazonSQS.GetQueueUrl"} if service == "sqs" else {}
    right = hashlib.sha256(body).hexdigest()
    for named, good in ((right, True), (hashlib.sha256(b"x").hexdigest(), False)):
        headers["x-amz-content-sha256"] = named
        reply = await wire.ask("POST", target, headers, body, service=service)
        assert (reply.status < 300) is good
    assert reply.status == 403
    assert code.lower() in f"{reply.headers} {reply.body!r}".lower()
