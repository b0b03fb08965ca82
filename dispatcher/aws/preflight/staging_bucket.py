"""Check of the staging bucket by the calls of a run: only these show whether they are allowed."""

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

CallWithRetries: TypeAlias = Callable[[str, Callable[[], Awaitable[object]]], Awaitable[None]]
Check: TypeAlias = tuple[str, Callable[[], Awaitable[object]], str]
"""Name, call and required permissions of a check."""


async def check_staging(
    clients: Clients, config: Config, days: int, call_with_retries: CallWithRetries
) -> list[Finding]:
    """Check writing, an upload in parts, deleting, and the lifecycle rules.

    Args:
        clients: Clients of the account.
        config: Configuration of the run.
        days: How long a staged object is needed, in days after it was written.
        call_with_retries: Makes a call, and repeats it after an error that soon passes.
    """
    staging = config.staging
    if staging.bucket is None:
        return []
    bucket = SdkBucket(clients.s3, staging.bucket, config.aws.total_timeout)
    key = f"{staging.prefix}00/check/{token_hex(8)}"
    findings = []
    for name, call, needs in _checks(bucket, key, staging):
        finding = await _check(
            name, partial(call_with_retries, name, call), f"{staging.bucket}/{key}", needs
        )
        findings.append(finding)
        if name == "staging" and not finding.ok:
            return findings
    if staging.delete == "by_lifecycle":
        findings.append(
            await _check_lifecycle(
                clients.s3, staging.bucket, staging.prefix, days, call_with_retries
            )
        )
    return findings


def _checks(bucket: SdkBucket, key: str, staging: StagingSettings) -> Iterator[Check]:
    options = PutOptions(staging.encryption, staging.kms_key, tagging_of(staging.tags))
    needs = ["s3:PutObject"]
    if staging.tags:
        needs.append("s3:PutObjectTagging")
    if staging.encryption == "aws:kms":
        needs.append("kms:GenerateDataKey")
    yield "staging", lambda: bucket.put(key, b"x", _TYPE, options), ", ".join(needs)

    async def multipart() -> None:
        upload = await bucket.upload(key, _TYPE, options)
        await upload.abort()

    yield "staging in parts", multipart, f"{', '.join(needs)}, s3:AbortMultipartUpload"
    # Deleted whatever the configuration says of staged objects: this one is ours alone.
    yield "deleting", lambda: bucket.delete(key), "s3:DeleteObject"


async def _check(
    name: str, call: Callable[[], Awaitable[object]], where: str, needs: str
) -> Finding:
    try:
        await call()
    except (CallError, Denied) as error:
        # A run goes on where it cannot delete: it counts and reports what stays. And an error that
        # soon passes, such as an outage or a clock that the run corrects, proves nothing.
        proves = name != "deleting" and isinstance(error, Denied | Rejected)
        return Finding(name, ok=False if proves else None, detail=f"{error}. It needs {needs}")
    return Finding(name, ok=True, detail=f"s3://{where}")


async def _check_lifecycle(
    s3: Any, bucket: str, prefix: str, days: int, call_with_retries: CallWithRetries
) -> Finding:
    rules: list[lifecycle.Rule] = []

    async def get() -> None:
        response = await s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        rules.extend(response.get("Rules", ()))

    try:
        await call_with_retries(f"looking at the lifecycle rules of {bucket}", get)
    except (CallError, Denied) as error:
        if error.code != _NO_RULES:
            return Finding("lifecycle rule", ok=None, detail=str(error))
    problem = lifecycle.shortfall(rules, prefix, days)
    if problem is not None:
        return Finding("lifecycle rule", ok=False, detail=f"{problem}; see below for one that does")
    return Finding("lifecycle rule", ok=True, detail=f"{bucket} removes what lies below {prefix!r}")
