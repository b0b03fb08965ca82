"""Completion events, as the service publishes them to the endpoint's topics."""

import base64
from typing import Any

from dispatcher.emulator.clock import iso_time
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation

RESPONSE_IN_EVENT_BYTES = 128_000
"""Largest response that travels in an event (D: 128 KB)."""

TEST_NOTIFICATION = '{"eventSource":"aws:sagemaker","eventName":"TestNotification"}'
"""Message to each topic when an endpoint is created or updated."""


def success_event(
    invocation: AcceptedInvocation,
    *,
    region: str,
    now: float,
    output_location: str,
    content_type: str,
    body: bytes | None,
) -> dict[str, Any]:
    """Return the event of a completed invocation.

    Args:
        invocation: The invocation.
        region: AWS region.
        now: When it was completed, in seconds since the epoch.
        output_location: URI of the output object.
        content_type: Content type of the response.
        body: The response where the endpoint includes it in events, else None.
    """
    event = _event(invocation, region, now, "Completed")
    event["responseParameters"] = {"contentType": content_type, "outputLocation": output_location}
    if body is not None and len(body) <= RESPONSE_IN_EVENT_BYTES:
        event["responseBody"] = _response_body(body)
    return event


def failure_event(
    invocation: AcceptedInvocation,
    *,
    region: str,
    now: float,
    failure_location: str,
    reason: str,
    body: bytes | None,
) -> dict[str, Any]:
    """Return the event of a failed invocation; arguments as in ``success_event``.

    Args:
        invocation: The invocation.
        region: AWS region.
        now: When it failed, in seconds since the epoch.
        failure_location: URI of the failure object.
        reason: The failureReason.
        body: The model's error body where the endpoint includes it in events, else None.
    """
    event = _event(invocation, region, now, "Failed")
    event["failureReason"] = reason
    event["responseParameters"] = {"failureLocation": failure_location}
    if body is not None and len(body) <= RESPONSE_IN_EVENT_BYTES:
        event["responseBody"] = _response_body(body)
    return event


def expired_event(invocation: AcceptedInvocation, *, region: str, now: float) -> dict[str, Any]:
    """Return the event of an invocation that waited longer than its TTL; no object is written."""
    event = _event(invocation, region, now, "Expired")
    event["failureReason"] = (
        f"ClientError: Request expired: it waited in the queue for over {invocation.ttl} seconds."
    )
    return event


def _event(invocation: AcceptedInvocation, region: str, now: float, status: str) -> dict[str, Any]:
    optional = {
        "inputLocation": invocation.input_location,
        "contentType": invocation.content_type,
        "accept": invocation.accept,
        "customAttributes": invocation.custom_attributes,
    }
    sent = {name: value for name, value in optional.items() if value is not None}
    return {
        "awsRegion": region,
        "eventTime": iso_time(now),
        "receivedTime": iso_time(invocation.received),
        "invocationStatus": status,
        "requestParameters": {"endpointName": invocation.endpoint, **sent},
        "inferenceId": invocation.inference_id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def _response_body(body: bytes) -> dict[str, str]:
    return {"content": base64.b64encode(body).decode("ascii"), "encoding": "BASE64"}
