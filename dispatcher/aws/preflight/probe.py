"""Looking at an account before a run, without sending a record."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import anyio
import botocore.exceptions as foreign

from dispatcher.aws.error_mapping import is_about_the_clock, translate
from dispatcher.aws.preflight import staging
from dispatcher.aws.session import Access, Clients, open_clients, open_control_plane
from dispatcher.config.settings import Config
from dispatcher.errors import CallError, Denied, DispatcherError, Throttled, Transient
from dispatcher.flow.finding import Finding

_SOURCE = "source queue"

_PAUSES_SECONDS = (0.1, 0.3, 0.9, 1.7)
"""Before each repeated look."""


async def probe(config: Config, access: Access | None = None, *, days: int = 1) -> list[Finding]:
    """Look at credentials, endpoint, queues and staging bucket; write to that, and delete it.

    Args:
        config: What is to be run.
        access: Overrides the environment.
        days: How long after it was written a staged object is needed.

    Permissions to look (``sagemaker:DescribeEndpoint``, ``sqs:GetQueueAttributes``,
    ``s3:ListBucket``) are not needed for a run, so being refused them is no failure.
    """
    try:
        async with open_clients(config.aws, connections=4, access=access) as clients:
            findings = [Finding("credentials", ok=True, detail="found")]
            findings.append(await _endpoint(config, access))
            findings += await queues(clients, config)
            findings.append(await bucket(clients, config.staging.bucket, config.staging.prefix))
            if findings[-1].ok is not False:
                findings += await staging.look(clients, config, days, _ask)
            return findings
    except DispatcherError as error:
        return [Finding("credentials", ok=False, detail=str(error))]


async def queues(clients: Clients, config: Config) -> list[Finding]:
    """Look at the queue of completion events, and at those that are source or sink."""
    findings = []
    if config.completion.queue_url is None:
        said = "completion.queue_url is not set: S3 is looked at"
        findings.append(Finding("completion queue", ok=None, detail=said))
    for name, url in (
        ("completion queue", config.completion.queue_url),
        (_SOURCE, config.source.queue_url),
        ("results queue", config.sink.queue_url),
        ("dead-letter queue", config.dead_letters.queue_url),
    ):
        if url is not None:
            findings.append(await _queue(clients, name, url))
    return findings


async def _queue(clients: Clients, name: str, url: str) -> Finding:
    told: dict[str, str] = {}

    async def ask() -> None:
        answer = await clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        told.update(answer["Attributes"])

    finding = await _look(name, url, ask)
    if name == _SOURCE and told.get("VisibilityTimeout") == "0":
        wrong = f"{url} has a VisibilityTimeout of 0; set it to 30 seconds or more"
        return Finding(name, ok=False, detail=wrong)
    if finding.ok:
        return Finding(name, ok=True, detail=f"{url} answers{_described(name, told)}")
    return finding


def _described(name: str, attributes: Mapping[str, str]) -> str:
    """Return what is worth knowing of a source before a run."""
    if name != _SOURCE:
        return ""
    described = f", {attributes.get('ApproximateNumberOfMessages', '?')} messages"
    if visibility := attributes.get("VisibilityTimeout"):
        described += f", visibility time-out {visibility}s"
    if policy := attributes.get("RedrivePolicy"):
        with suppress(ValueError, LookupError, TypeError):
            most = json.loads(policy)["maxReceiveCount"]
            described += f", to its dead-letter queue after {most} receives"
    return described


async def bucket(clients: Clients, name: str | None, prefix: str) -> Finding:
    """Look at the bucket that large payloads are staged in."""
    if name is None:
        return Finding(
            "staging bucket",
            ok=None,
            detail="staging.bucket is not set: records too large for inline become dead letters",
        )
    return await _look(
        "staging bucket",
        name,
        lambda: clients.s3.list_objects_v2(Bucket=name, Prefix=prefix, MaxKeys=1),
    )


async def _endpoint(config: Config, access: Access | None) -> Finding:
    name = config.endpoint.name
    async with open_control_plane(config.aws, access) as sagemaker:
        described = await _look(
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


async def _look(name: str, what: str, call: Callable[[], Awaitable[object]]) -> Finding:
    try:
        await _ask(f"looking at {name} {what}", call)
    except (CallError, Denied) as error:
        if _says_nothing(error):
            return Finding(name, ok=None, detail=str(error))
        if isinstance(error, Denied):
            return Finding(name, ok=False, detail=str(error))
        advice = "Check the network, the region and AWS_ENDPOINT_URL, then try again"
        return Finding(name, ok=False, detail=f"{error}. {advice}")
    return Finding(name, ok=True, detail=f"{what} answers")


async def _ask(doing: str, call: Callable[[], Awaitable[object]]) -> None:
    """Ask, and ask again after what soon passes: a run must not fail to start for one 503.

    Where nobody can be reached the address is wrong more often than not, and is told at once.
    """
    for pause in _PAUSES_SECONDS:
        try:
            with translate(doing, repeatable=True):
                await call()
        except (Throttled, Transient) as error:
            if error.code == "NoConnection":
                raise
            await anyio.sleep(pause)
        else:
            return
    with translate(doing, repeatable=True):
        await call()


def _says_nothing(error: CallError | Denied) -> bool:
    """Return whether a refusal only says that looking is not possible.

    Permission to look is not needed for a run, and a clock that is wrong is corrected by the hot
    calls, or refused by them.
    """
    if not isinstance(error.__cause__, foreign.ClientError):
        return False
    said = error.__cause__.response["Error"]
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    return code.startswith("AccessDenied") or is_about_the_clock(code, message)
