"""InvokeEndpointAsync on the wire: the bytes that leave, and the outcome of every ending."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dispatcher.aws.requests import InvokeRequest, InvokeResponse
from dispatcher.config.settings import AwsSettings
from dispatcher.errors import (
    CallError,
    Denied,
    OutcomeUnknown,
    Rejected,
    ServiceFailed,
    Throttled,
    Transient,
)

if TYPE_CHECKING:
    from tests.aws.conftest import Connect, ScriptedResponse, WireServer

INLINE = InvokeRequest(
    endpoint="churn",
    inference_id="0a1b2c3d-00000000000z",
    content_type="application/json",
    output_extension="0a1b2c3d/00000000",
    filename="0a1b2c3d-00000000000z.out",
    body=b'{"x": "\xc3\xa9\x00"}',
    input_location=None,
    accept="text/csv",
    custom_attributes="a=b",
    ttl=120,
    timeout=30,
)
STAGED = replace(
    INLINE, body=None, input_location="s3://in/staged/x", accept=None, custom_attributes=None
)
PREFIX = "x-amzn-sagemaker-"


def accepted(wire: WireServer) -> bytes:
    return wire.response(
        "202 Accepted",
        b'{"InferenceId":"0a1b2c3d-00000000000z"}',
        X_Amzn_SageMaker_OutputLocation="s3://out/x.out",
        X_Amzn_SageMaker_FailureLocation="s3://out/x-error.out",
    )


async def test_an_inline_request_is_the_payload_and_headers(
    wire: WireServer, connect: Connect
) -> None:
    wire.responses = [accepted(wire)]
    async with connect() as transport:
        response = await transport.runtime.invoke(INLINE)
    assert response == InvokeResponse("s3://out/x.out", "s3://out/x-error.out")
    (request,) = wire.requests
    assert (request.method, request.target) == ("POST", "/endpoints/churn/async-invocations")
    assert request.body == INLINE.body
    own = {n.removeprefix(PREFIX): v for n, v in request.headers.items() if n.startswith(PREFIX)}
    assert own == {
        "content-type": "application/json",
        "accept": "text/csv",
        "custom-attributes": "a=b",
        "inference-id": "0a1b2c3d-00000000000z",
        "s3outputpathextension": "0a1b2c3d/00000000",
        "filename": "0a1b2c3d-00000000000z.out",
        "requestttlseconds": "120",
        "invocationtimeoutseconds": "30",
    }
    signature = request.headers["authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/sagemaker/aws4_request" in signature
    sent = request.headers.get("x-amz-content-sha256")
    assert sent in (None, hashlib.sha256(request.body).hexdigest())


async def test_a_staged_request_has_a_location_and_no_body(
    wire: WireServer, connect: Connect
) -> None:
    wire.responses = [accepted(wire)]
    async with connect() as transport:
        await transport.runtime.invoke(STAGED)
    (request,) = wire.requests
    assert request.body == b""
    assert request.headers["content-length"] == "0"
    assert request.headers[f"{PREFIX}inputlocation"] == "s3://in/staged/x"
    assert f"{PREFIX}accept" not in request.headers
    assert f"{PREFIX}custom-attributes" not in request.headers


async def test_a_response_without_locations_is_an_acceptance(
    wire: WireServer, connect: Connect
) -> None:
    wire.responses = [wire.response("202 Accepted", b"{}")]
    async with connect() as transport:
        assert await transport.runtime.invoke(INLINE) == InvokeResponse(None, None)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (replace(INLINE, input_location="s3://in/x"), "BodyXor"),
        (replace(INLINE, body=None), "BodyXor"),
        (replace(INLINE, body=b"x" * 128_001), "BodyTooLarge"),
        (replace(INLINE, inference_id=""), "ParamValidation"),
    ],
)
async def test_what_the_service_would_refuse_never_leaves(
    wire: WireServer, connect: Connect, request_: InvokeRequest, code: str
) -> None:
    wire.responses = [accepted(wire)]
    async with connect() as transport:
        with pytest.raises(Rejected) as refused:
            await transport.runtime.invoke(request_)
    assert refused.value.code == code
    assert wire.requests == []


async def test_the_largest_body_leaves_whole(wire: WireServer, connect: Connect) -> None:
    wire.responses = [accepted(wire)]
    async with connect() as transport:
        await transport.runtime.invoke(replace(INLINE, body=b"x" * 128_000))
    assert wire.requests[0].body == b"x" * 128_000


THROTTLED_HEADER = "ThrottlingException:http://internal.amazon.com/coral/com.amazon.coral/"


@pytest.mark.parametrize(
    ("status", "kind_and_body", "error"),
    [
        ("400 Bad Request", (THROTTLED_HEADER, b'{"message":null}'), Throttled),
        ("400 Bad Request", ("ThrottlingException", b'{"message":"Rate exceeded"}'), Throttled),
        ("429 Too Many Requests", ("", b""), Throttled),
        ("500 Internal Server Error", ("InternalFailure", b'{"message":"no"}'), ServiceFailed),
        ("503 Service Unavailable", ("ServiceUnavailable", b"<html>busy</html>"), ServiceFailed),
        ("502 Bad Gateway", ("", b"<html>"), ServiceFailed),
        ("403 Forbidden", ("ExpiredTokenException", b'{"message":"expired"}'), Transient),
        ("400 Bad Request", ("RequestExpired", b'{"message":"clock"}'), Transient),
        ("403 Forbidden", ("AccessDeniedException", b'{"Message":"not authorized"}'), Denied),
        (
            "400 Bad Request",
            ("ValidationError", b'{"Message":"Endpoint churn of account 123456789012 not found."}'),
            Denied,
        ),
        ("400 Bad Request", ("ValidationError", b'{"message":"Body and InputLocation"}'), Rejected),
        ("413 Request Entity Too Large", ("RequestEntityTooLarge", b""), Rejected),
    ],
)
async def test_each_refusal_costs_one_request(
    wire: WireServer,
    connect: Connect,
    status: str,
    kind_and_body: tuple[str, bytes],
    error: type[Exception],
) -> None:
    kind, body = kind_and_body
    headers = {"x_amzn_ErrorType": kind} if kind else {}
    wire.responses = [wire.response(status, body, **headers)]
    async with connect() as transport:
        with pytest.raises(error) as raised:
            await transport.runtime.invoke(INLINE)
    assert type(raised.value) is error
    assert "invoking endpoint churn" in str(raised.value)
    assert len(wire.requests) == 1, "no hidden retries"


@pytest.mark.parametrize(
    "ending",
    [
        "close",
        "reset",
        "silence",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 50\r\n\r\n{",
        b"HTTP/1.1 202 Acc",
        b"no HTTP at all\r\n\r\n",
    ],
    ids=["closed", "reset", "silent", "half-a-body", "half-a-head", "junk"],
)
async def test_without_a_whole_response_the_outcome_is_unknown(
    wire: WireServer, connect: Connect, ending: ScriptedResponse
) -> None:
    wire.responses = [ending]
    async with connect(AwsSettings.model_construct(read_timeout=0.1)) as transport:
        with pytest.raises(OutcomeUnknown) as raised:
            await transport.runtime.invoke(INLINE)
    assert raised.value.code == "NoAnswer"
    assert len(wire.requests) == 1


async def test_a_call_takes_no_longer_than_all_of_its_time(
    wire: WireServer, connect: Connect
) -> None:
    wire.responses = ["silence"]
    async with connect(AwsSettings.model_construct(total_timeout=0.1)) as transport:
        with pytest.raises(OutcomeUnknown) as raised:
            await transport.runtime.invoke(INLINE)
    assert raised.value.code == "NoAnswer"


async def test_over_tls(tls_wire: WireServer, connect: Connect) -> None:
    tls_wire.responses = [accepted(tls_wire)]
    async with connect() as transport:
        response = await transport.runtime.invoke(INLINE)
    assert response == InvokeResponse("s3://out/x.out", "s3://out/x-error.out")
    assert tls_wire.requests[0].body == INLINE.body


async def test_a_connection_that_dies_idle_does_not_fail_the_next_call_for_good(
    wire: WireServer, connect: Connect
) -> None:
    wire.responses = [accepted(wire), "close", accepted(wire)]
    async with connect(connections=1) as transport:
        await transport.runtime.invoke(INLINE)
        with pytest.raises(CallError):
            await transport.runtime.invoke(INLINE)
        await transport.runtime.invoke(INLINE)
    assert len(wire.requests) == 3


async def test_a_refused_connection_is_safe_to_repeat(
    connect: Connect,
    closed_port: Callable[[], str],
    credentials: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", closed_port())
    async with connect() as transport:
        with pytest.raises(Transient) as raised:
            await transport.runtime.invoke(INLINE)
    assert raised.value.code == "NoConnection"


async def test_an_unknown_host_is_safe_to_repeat(
    connect: Connect, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://nowhere.invalid")
    async with connect() as transport:
        with pytest.raises(Transient) as raised:
            await transport.runtime.invoke(INLINE)
    assert raised.value.code == "NoConnection"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"InferenceId":null}',
        b'{ "New": [1], "InferenceId" : "0a1b2c3d-00000000000z" }',
        b'{"InferenceId":"\\u0030a1b2c3d-00000000000z"}',
    ],
)
async def test_responses_that_are_to_the_request(
    wire: WireServer, connect: Connect, body: bytes
) -> None:
    wire.responses = [wire.response("202 Accepted", body)]
    async with connect() as transport:
        assert await transport.runtime.invoke(INLINE) == InvokeResponse(None, None)


@pytest.mark.parametrize(
    "body",
    [
        b'{"InferenceId":"0a1b2c3d-00000000000y"}',
        b'{"InferenceId":"0a1b2c3d-00000000000z0"}',
        b'{"InferenceId":"00a1b2c3d-00000000000z"}',
        b'{"InferenceId":""}',
    ],
)
async def test_a_response_to_another_request_is_none(
    wire: WireServer, connect: Connect, body: bytes
) -> None:
    other = wire.response("202 Accepted", body, X_Amzn_SageMaker_OutputLocation="s3://out/y.out")
    wire.responses = [other, accepted(wire)]
    async with connect(connections=1) as transport:
        with pytest.raises(OutcomeUnknown, match="is to another request") as raised:
            await transport.runtime.invoke(INLINE)
        assert raised.value.code == "NoAnswer"
        response = await transport.runtime.invoke(INLINE)
    assert response.output_location == "s3://out/x.out"
