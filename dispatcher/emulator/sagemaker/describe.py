"""Descriptions of an emulated endpoint by SageMaker's control plane."""

from collections.abc import Container
from typing import Any

from dispatcher.emulator.http.message import Refusal
from dispatcher.emulator.sqs.long_poll import ACCOUNT

_CREATED = 1_700_000_000


def success_topic(endpoint: str) -> str:
    """Return the name of the topic of an endpoint's success events."""
    return f"{endpoint}-success"


def error_topic(endpoint: str) -> str:
    """Return the name of the topic of an endpoint's error events."""
    return f"{endpoint}-error"


def describe(
    operation: str,
    asked: dict[str, Any],
    *,
    endpoints: Container[str],
    region: str,
    bucket: str,
    events: bool,
    response_in_event: bool,
) -> dict[str, Any]:
    """Return the response of DescribeEndpoint or DescribeEndpointConfig.

    Args:
        operation: The operation's name.
        asked: Its input.
        endpoints: Names of the endpoints.
        region: AWS region, for ARNs.
        bucket: The output bucket.
        events: Whether events are published.
        response_in_event: Whether small responses travel in the event.

    Raises:
        Refusal: Another operation, or no such endpoint.
    """
    base = f"arn:aws:sagemaker:{region}:{ACCOUNT}"
    if operation == "DescribeEndpoint":
        name = _known(asked.get("EndpointName"), "endpoint", endpoints, f"{base}:endpoint")
        return {
            "EndpointName": name,
            "EndpointArn": f"{base}:endpoint/{name}",
            "EndpointConfigName": name,
            "EndpointStatus": "InService",
            "CreationTime": _CREATED,
            "LastModifiedTime": _CREATED,
            "AsyncInferenceConfig": _async_config(name, region, bucket, events, response_in_event),
        }
    if operation == "DescribeEndpointConfig":
        name = _known(
            asked.get("EndpointConfigName"),
            "endpoint configuration",
            endpoints,
            f"{base}:endpoint-config",
        )
        return {
            "EndpointConfigName": name,
            "EndpointConfigArn": f"{base}:endpoint-config/{name}",
            "ProductionVariants": [
                {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1}
            ],
            "CreationTime": _CREATED,
            "AsyncInferenceConfig": _async_config(name, region, bucket, events, response_in_event),
        }
    raise Refusal(400, "UnknownOperationException", f"The emulator does not play {operation!r}.")


def _known(name: Any, what: str, endpoints: Container[str], arn: str) -> str:
    if not isinstance(name, str) or name not in endpoints:
        raise Refusal(400, "ValidationException", f'Could not find {what} "{arn}/{name}".')
    return name


def _async_config(
    name: str, region: str, bucket: str, events: bool, response_in_event: bool
) -> dict[str, Any]:
    output: dict[str, Any] = {
        "S3OutputPath": f"s3://{bucket}/{name}/output",
        "S3FailurePath": f"s3://{bucket}/{name}/failure",
    }
    if events:
        notification: dict[str, Any] = {
            "SuccessTopic": f"arn:aws:sns:{region}:{ACCOUNT}:{success_topic(name)}",
            "ErrorTopic": f"arn:aws:sns:{region}:{ACCOUNT}:{error_topic(name)}",
        }
        if response_in_event:
            notification["IncludeInferenceResponseIn"] = [
                "SUCCESS_NOTIFICATION_TOPIC",
                "ERROR_NOTIFICATION_TOPIC",
            ]
        output["NotificationConfig"] = notification
    return {"OutputConfig": output}
