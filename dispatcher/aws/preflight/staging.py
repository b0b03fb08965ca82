"""Trying what a run does with its staging bucket: nothing else shows whether it is allowed."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from secrets import token_hex
from typing import Any, TypeAlias

from dispatcher.aws.preflight import lifecycle
from dispatcher.aws.requests import PutOptions, tagging_of
from dispatcher.aws.sdk.bucket import SdkBucket
from dispatcher.aws.session import Clients
from dispatcher.config.packing import StagingSettings
from dispatcher.config.settings import Config
from dispatcher.errors import CallError, Denied, Rejected
from dispatcher.flow.finding import Finding

_NO_RULES = "NoSuchLifecycleConfiguration"
_TYPE = "application/octet-stream"

Ask: TypeAlias = Callable[[str, Callable[[], Awaitable[object]]], Awaitable[None]]
Attempt: TypeAlias = tuple[str, Callable[[], Awaitable[object]], str]
"""What is tried, and the permissions that it needs."""


async def look(clients: Clients, config: Config, days: int, ask: Ask) -> list[Finding]:
    """Try to write, to begin and abort an upload in parts, and to delete; look at the rules.

    Args:
        clients: Those of the account.
        config: What is to be run.
        days: How long after it was written a staged object is needed.
        ask: Makes a call, and makes it again after what soon passes.
    """
    staging = config.staging
    if staging.bucket is None:
        return []
    bucket = SdkBucket(clients.s3, staging.bucket, config.aws.total_timeout)
    key = f"{staging.prefix}00/check/{token_hex(8)}"
    findings = []
    for name, call, needs in _attempts(bucket, key, staging):
        finding = await _tried(name, partial(ask, name, call), f"{staging.bucket}/{key}", needs)
        findings.append(finding)
        if name == "staging" and not finding.ok:
            return findings
    if staging.delete == "by_lifecycle":
        findings.append(await _rules(clients.s3, staging.bucket, staging.prefix, days, ask))
    return findings


def _attempts(bucket: SdkBucket, key: str, staging: StagingSettings) -> Iterator[Attempt]:
    options = PutOptions(staging.encryption, staging.kms_key, tagging_of(staging.tags))
    needs = ["s3:PutObject"]
    if staging.tags:
        needs.append("s3:PutObjectTagging")
    if staging.encryption == "aws:kms":
        needs.append("kms:GenerateDataKey")
    yield "staging", lambda: bucket.put(key, b"x", _TYPE, options), ", ".join(needs)

    async def parts() -> None:
        upload = await bucket.upload(key, _TYPE, options)
        await upload.abort()

    yield "staging in parts", parts, f"{', '.join(needs)}, s3:AbortMultipartUpload"
    # Whatever the configuration says of staged objects: this one is ours alone.
    yield "deleting", lambda: bucket.delete(key), "s3:DeleteObject"


async def _tried(
    name: str, call: Callable[[], Awaitable[object]], where: str, needs: str
) -> Finding:
    try:
        await call()
    except (CallError, Denied) as error:
        # A run goes on where nothing is deleted: what stays is counted, and said. And what soon
        # passes, such as an outage or a clock that the run's own client sets right, proves nothing.
        proves = name != "deleting" and isinstance(error, Denied | Rejected)
        return Finding(name, ok=False if proves else None, detail=f"{error}. It needs {needs}")
    return Finding(name, ok=True, detail=f"s3://{where}")


async def _rules(s3: Any, bucket: str, prefix: str, days: int, ask: Ask) -> Finding:
    rules: list[lifecycle.Rule] = []

    async def get() -> None:
        answer = await s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        rules.extend(answer.get("Rules", ()))

    try:
        await ask(f"looking at the lifecycle rules of {bucket}", get)
    except (CallError, Denied) as error:
        if error.code != _NO_RULES:
            return Finding("lifecycle rule", ok=None, detail=str(error))
    wrong = lifecycle.shortfall(rules, prefix, days)
    if wrong is not None:
        return Finding("lifecycle rule", ok=False, detail=f"{wrong}; see below for one that does")
    return Finding("lifecycle rule", ok=True, detail=f"{bucket} removes what lies below {prefix!r}")
