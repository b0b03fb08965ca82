"""Probe of the AWS account before a run, without sending a record."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import anyio
import botocore.exceptions as foreign

from dispatcher.aws.error_mapping import is_clock_error, translate
from dispatcher.aws.preflight import staging_bucket as staging
from dispatcher.aws.session import Access, Clients, open_clients, open_control_plane
from dispatcher.config.settings import Config
from dispatcher.errors import CallError, Denied, DispatcherError, Throttled, Transient
from dispatcher.flow.finding import Finding

_SOURCE = "source queue"

_RETRY_PAUSES_SECONDS = (0.1, 0.3, 0.9, 1.7)
"""Pauses before each repeated call."""


async def probe(config: Config, access: Access | None = None, *, days: int = 1) -> list[Finding]:
    """Check credentials, endpoint, queues and staging bucket; write a test object and delete it.

    Args:
        config: Configuration of the run.
        access: Overrides the environment.
        days: How long a staged object is needed, in days after it was written.

    Permissions to look (``sagemaker:DescribeEndpoint``, ``sqs:GetQueueAttributes``,
    ``s3:ListBucket``) are not needed for a run, so being refused them is no failure.
    """
    try:
        async with open_clients(config.aws, connections=4, access=access) as clients:
            findings = [Finding("credentials", ok=True, detail="found")]
            findings.append(await _check_endpoint(config, access))
            findings += await check_queues(clients, config)
            findings.append(
                await check_bucket(clients, config.staging.bucket, config.staging.prefix)
            )
            if findings[-1].ok is not False:
                findings += await staging.check_staging(clients, config, days, _call_with_retries)
            return findings
    except DispatcherError as error:
        return [Finding("credentials", ok=False, detail=str(error))]


async def check_queues(clients: Clients, config: Config) -> list[Finding]:
    """Check the queue of completion events, and those of source and sinks."""
    findings = []
    if config.completion.queue_url is None:
        details = "completion.queue_url is not set: S3 is looked at"
        findings.append(Finding("completion queue", ok=None, detail=details))
    for name, url in (
        ("completion queue", config.completion.queue_url),
        (_SOURCE, config.source.queue_url),
        ("results queue", config.sink.queue_url),
        ("dead-letter queue", config.dead_letters.queue_url),
    ):
        if url is not None:
            findings.append(await _check_queue(clients, name, url))
    return findings


async def _check_queue(clients: Clients, name: str, url: str) -> Finding:
    attributes: dict[str, str] = {}

    async def get_attributes() -> None:
        response = await clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        attributes.update(response["Attributes"])

    finding = await _check(name, url, get_attributes)
    if name == _SOURCE and attributes.get("VisibilityTimeout") == "0":
        problem = f"{url} has a VisibilityTimeout of 0; set it to 30 seconds or more"
        return Finding(name, ok=False, detail=problem)
    if finding.ok:
        return Finding(name, ok=True, detail=f"{url} answers{_described(name, attributes)}")
    return finding


def _described(name: str, attributes: Mapping[str, str]) -> str:
    """Return the attributes of a source that matter before a run."""
    if name != _SOURCE:
        return ""
    described = f", {attributes.get('ApproximateNumberOfMessages', '?')} messages"
    if visibility := attributes.get("VisibilityTimeout"):
        described += f", visibility time-out {visibility}s"
    if policy := attributes.get("RedrivePolicy"):
        with suppress(ValueError, LookupError, TypeError):
            max_receives = json.loads(policy)["maxReceiveCount"]
            described += f", to its dead-letter queue after {max_receives} receives"
    return described


async def check_bucket(clients: Clients, name: str | None, prefix: str) -> Finding:
    """Check the bucket that large payloads are staged in."""
    if name is None:
        return Finding(
            "staging bucket",
            ok=None,
            detail="staging.bucket is not set: records too large for inline become dead letters",
        )
    return await _check(
        "staging bucket",
        name,
        lambda: clients.s3.list_objects_v2(Bucket=name, Prefix=prefix, MaxKeys=1),
    )


async def _check_endpoint(config: Config, access: Access | None) -> Finding:
    name = config.endpoint.name
    async with open_control_plane(config.aws, access) as sagemaker:
        described = await _check(
            "endpoint", name, lambda: sagemaker.describe_endpoint(EndpointName=name)
        )
    if described.ok is False and "not find" in described.detail:
        return Finding(
            "endpoint",
            ok=False,
            detail=f"{name} does not exist in this account and region. Check endpoint.name and "
            "aws.region",
        )
    return described


async def _check(name: str, what: str, call: Callable[[], Awaitable[object]]) -> Finding:
    try:
        await _call_with_retries(f"looking at {name} {what}", call)
    except (CallError, Denied) as error:
        if _proves_nothing(error):
            return Finding(name, ok=None, detail=str(error))
        if isinstance(error, Denied):
            return Finding(name, ok=False, detail=str(error))
        advice = "Check the network, the region and AWS_ENDPOINT_URL, then try again"
        return Finding(name, ok=False, detail=f"{error}. {advice}")
    return Finding(name, ok=True, detail=f"{what} answers")


async def _call_with_retries(action: str, call: Callable[[], Awaitable[object]]) -> None:
    """Call, and repeat after an error that soon passes: one 503 must not keep a run from starting.

    An address that cannot be reached is most likely wrong, and is reported at once.
    """
    for pause in _RETRY_PAUSES_SECONDS:
        try:
            with translate(action, repeatable=True):
                await call()
        except (Throttled, Transient) as error:
            if error.code == "NoConnection":
                raise
            await anyio.sleep(pause)
        else:
            return
    with translate(action, repeatable=True):
        await call()


def _proves_nothing(error: CallError | Denied) -> bool:
    """Return whether an error only shows that the check is not possible.

    A run does not need the permission to check, and the hot calls correct a wrong clock, or report
    it.
    """
    if not isinstance(error.__cause__, foreign.ClientError):
        return False
    details = error.__cause__.response["Error"]
    code, message = str(details.get("Code", "")), str(details.get("Message", ""))
    return code.startswith("AccessDenied") or is_clock_error(code, message)
