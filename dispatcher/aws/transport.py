"""Transport of the hot calls: our own client, or aioboto3's.

aioboto3 provides credentials, regions and endpoints for both. It replaces ``direct`` where that
cannot work: a proxy is set, or the signature is not SigV4.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from dispatcher.aws.direct.client import open_direct
from dispatcher.aws.objects import Objects
from dispatcher.aws.queue import Queue
from dispatcher.aws.requests import InvokeRequest, InvokeResponse
from dispatcher.aws.sdk.bucket import SdkBucket
from dispatcher.aws.sdk.runtime import SdkRuntime
from dispatcher.aws.sdk.sqs import SdkSqs
from dispatcher.aws.session import Access, Clients, open_clients
from dispatcher.config.settings import AwsSettings

_log = logging.getLogger(__name__)


class Runtime(Protocol):
    """Client of InvokeEndpointAsync."""

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """Ask for an inference and return where its output will be.

        Raises:
            Throttled, Transient: It was not accepted; repeat it later.
            OutcomeUnknown: It was sent and got no response.
            Rejected: It will never be accepted.
            Denied: No request will, until a person fixes it.
        """


@dataclass(slots=True, frozen=True, kw_only=True)
class Transport:
    """The calls of a run.

    Attributes:
        name: The transport that serves them.
        clients: aioboto3's clients, for every call that is not hot.
        runtime: InvokeEndpointAsync.
        objects: S3.
        queue: SQS; returns the calls to the queue of a URL.
    """

    name: str
    clients: Clients
    runtime: Runtime
    objects: Objects
    queue: Callable[[str], Queue]


@asynccontextmanager
async def open_transport(
    settings: AwsSettings, *, connections: int, access: Access | None = None
) -> AsyncIterator[Transport]:
    """Open the transport of the settings and close it at the end of the block.

    Args:
        settings: Region, profile, role, transport and time-outs.
        connections: Most connections to each service at once.
        access: Overrides the environment.

    Raises:
        ConfigError: No region is known, or the profile or an endpoint URL is wrong.
        Denied: No credentials are found.
    """
    async with open_clients(settings, connections=connections, access=access) as clients:
        if settings.transport == "direct":
            async with open_direct(clients, settings, connections) as direct:
                if direct is not None:
                    yield Transport(
                        name="direct",
                        clients=clients,
                        runtime=direct.runtime,
                        objects=Objects(direct.bucket),
                        queue=direct.queue,
                    )
                    return
            _log.warning(
                "aws.transport direct cannot serve through a proxy or another signature than "
                "SigV4; aioboto3 is used"
            )
        total = settings.total_timeout

        async def bucket(name: str) -> SdkBucket:
            return SdkBucket(clients.s3, name, total)

        yield Transport(
            name="aioboto3",
            clients=clients,
            runtime=SdkRuntime(clients.runtime, total),
            objects=Objects(bucket),
            queue=lambda url: Queue(url, SdkSqs(clients.sqs, total)),
        )
