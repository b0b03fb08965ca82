"""The AWS session: credentials, region, endpoints, and the clients made of them."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioboto3
import botocore.exceptions as foreign
from aiobotocore.config import AioConfig
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioDeferredRefreshableCredentials,
)
from botocore.loaders import Loader

from dispatcher.aws.error_mapping import translate
from dispatcher.config.settings import AwsSettings
from dispatcher.errors import ConfigError

_EXTRAS = Path(__file__).parent / "extras"
_RUNTIME = "sagemaker-runtime"


@dataclass(slots=True, frozen=True, kw_only=True)
class Access:
    """Endpoint and keys that override the environment, as for the embedded emulator."""

    endpoint_url: str
    region: str
    access_key_id: str
    secret_access_key: str


@dataclass(slots=True, frozen=True, kw_only=True)
class Clients:
    """The aioboto3 clients of the called services, with their credentials and authorities.

    Attributes:
        runtime, s3, sqs: The clients.
        credentials: Their credentials, which renew themselves on use.
        ca_bundle: A file of certificate authorities in place of the usual ones, or None.
    """

    runtime: Any
    s3: Any
    sqs: Any
    credentials: Any
    ca_bundle: str | None


@asynccontextmanager
async def open_clients(
    settings: AwsSettings, *, connections: int, access: Access | None = None
) -> AsyncIterator[Clients]:
    """Make the clients of a run and close them at the end of the block.

    Args:
        settings: Region, profile, role and time-outs.
        connections: Most connections to each service at once.
        access: Overrides the environment.

    Raises:
        ConfigError: No region is known, or the profile or an endpoint URL is wrong.
        Denied: No credentials are found.
    """
    services = (_RUNTIME, "s3", "sqs")
    async with _open(services, settings, connections, access) as (session, opened):
        inner = session._session  # noqa: SLF001 - aioboto3 has no way to ask
        runtime, s3, sqs = opened
        yield Clients(
            runtime=runtime,
            s3=s3,
            sqs=sqs,
            credentials=await session.get_credentials(),
            ca_bundle=(
                inner.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
            ),
        )


@asynccontextmanager
async def open_control_plane(
    settings: AwsSettings, access: Access | None = None
) -> AsyncIterator[Any]:
    """Make the client that describes endpoints; a run does not need its large model.

    Raises:
        ConfigError, Denied: As ``open_clients``.
    """
    async with _open(("sagemaker",), settings, 1, access) as (_, (client,)):
        yield client


@asynccontextmanager
async def _open(
    services: Sequence[str], settings: AwsSettings, connections: int, access: Access | None
) -> AsyncIterator[tuple[Any, list[Any]]]:
    config = AioConfig(
        # One retry policy, ours: hidden retries multiply it and can enqueue a request twice.
        retries={"total_max_attempts": 1},
        max_pool_connections=connections,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        tcp_keepalive=True,
    )
    async with AsyncExitStack() as stack:
        try:
            session = await _session(settings, access)
            clients = [
                await stack.enter_async_context(
                    session.client(
                        service,
                        config=config,
                        endpoint_url=access.endpoint_url if access else None,
                    )
                )
                for service in services
            ]
        except ValueError as error:
            raise ConfigError(
                f"the clients of AWS cannot be made: {error}. An AWS_ENDPOINT_URL variable must be "
                "a URL like http://127.0.0.1:4599, and aws.region a region like us-east-1"
            ) from error
        yield session, clients


async def _session(settings: AwsSettings, access: Access | None) -> Any:
    with translate("signing requests", repeatable=True):
        if access is not None:
            session = aioboto3.Session(
                aws_access_key_id=access.access_key_id,
                aws_secret_access_key=access.secret_access_key,
                region_name=access.region,
            )
        else:
            session = aioboto3.Session(profile_name=settings.profile, region_name=_region(settings))
        if (credentials := await session.get_credentials()) is None:
            raise foreign.NoCredentialsError
        if settings.role_arn is not None and access is None:
            credentials = _assume(session, credentials, settings.role_arn)
        await credentials.get_frozen_credentials()
    _extend_runtime_model(session)
    return session


def _region(settings: AwsSettings, environ: Mapping[str, str] = os.environ) -> str:
    # botocore itself reads AWS_DEFAULT_REGION only.
    region = settings.region or environ.get("AWS_REGION")
    if region := region or aioboto3.Session(profile_name=settings.profile).region_name:
        return str(region)
    if any(name.startswith("AWS_ENDPOINT_URL") for name in environ):
        return "us-east-1"  # some emulator: a region is only part of the signature
    raise ConfigError(
        "no AWS region is known. Set aws.region in the configuration, or AWS_REGION in the "
        "environment"
    )


def _assume(session: Any, source: Any, role_arn: str) -> Any:
    """Assume a role, refreshed as it expires; return its credentials."""
    inner = session._session  # noqa: SLF001 - aioboto3 has no way to set credentials
    fetcher = AioAssumeRoleCredentialFetcher(inner.create_client, source, role_arn)
    inner._credentials = AioDeferredRefreshableCredentials(  # noqa: SLF001 - as above
        refresh_using=fetcher.fetch_credentials, method="assume-role"
    )
    return inner._credentials  # noqa: SLF001 - as above


def _extend_runtime_model(session: Any) -> None:
    """Add Body, Filename and S3OutputPathExtension to a model that is older than they are.

    botocore merges ``*.sdk-extras.json`` files of its search paths into its models; the pinned
    botocore of aioboto3 15.5.0 has none of the three.
    """
    model = Loader().load_service_model(_RUNTIME, "service-2")
    if "Body" not in model["shapes"]["InvokeEndpointAsyncInput"]["members"]:
        loader = session._session.get_component("data_loader")  # noqa: SLF001 - no public way
        loader.search_paths.append(str(_EXTRAS))
