"""Our own client of SageMaker, SQS and S3, on aioboto3's session."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from botocore.httpsession import get_cert_path

from dispatcher.aws.direct.address import Address, address_of
from dispatcher.aws.direct.bucket import DirectBucket
from dispatcher.aws.direct.caller import Caller
from dispatcher.aws.direct.clock_skew import ClockSkew
from dispatcher.aws.direct.credentials import SigningCredentials
from dispatcher.aws.direct.error_response import read_json, read_xml
from dispatcher.aws.direct.runtime import DirectRuntime
from dispatcher.aws.direct.sqs import DirectSqs
from dispatcher.aws.error_mapping import translate
from dispatcher.aws.http.connection import Timeouts
from dispatcher.aws.http.dialer import Origin
from dispatcher.aws.http.pool import Pool
from dispatcher.aws.http.response import Response
from dispatcher.aws.queue import Queue
from dispatcher.aws.sdk.bucket import SdkBucket
from dispatcher.aws.session import Clients
from dispatcher.config.settings import AwsSettings
from dispatcher.errors import CallError, ConfigError, Denied

_MAX_IDLE_SECONDS = 12.0
"""How long a connection waits for the next request: as in aiobotocore, less than S3 allows."""

_MAX_AGE_SECONDS = 300.0
"""How long a connection is used: the names of AWS move to other addresses."""

_PLACEHOLDER = "dispatcher"
"""Name of endpoint, queue and bucket where it does not affect the address."""


@asynccontextmanager
async def open_direct(
    clients: Clients, settings: AwsSettings, connections: int
) -> AsyncIterator["Direct | None"]:
    """Open our own client and close it at the end of the block.

    Args:
        clients: aioboto3's, with credentials and addresses.
        settings: Time-outs.
        connections: Most connections to each host at once.

    Yields:
        The client; None where it cannot be used.

    Raises:
        ConfigError: The file of certificate authorities cannot be used.
    """
    operation = f"/endpoints/{_PLACEHOLDER}/async-invocations"
    runtime = await address_of(
        clients.runtime, "invoke_endpoint_async", EndpointName=_PLACEHOLDER, Body=b"-"
    )
    queues = await address_of(
        clients.sqs, "receive_message", QueueUrl=f"https://{_PLACEHOLDER}/1/q"
    )
    objects = await address_of(clients.s3, "list_objects_v2", Bucket=_PLACEHOLDER)
    if runtime is None or queues is None or objects is None:
        yield None
        return
    direct = Direct(clients=clients, settings=settings, connections=connections, queues=queues)
    try:
        direct.runtime = DirectRuntime(
            direct.caller(runtime, runtime.path.removesuffix(operation), read_json)
        )
        yield direct
    finally:
        with anyio.CancelScope(shield=True):
            await direct.aclose()


class Direct:
    """Client of the three services; opened by ``open_direct``.

    Attributes:
        runtime: Client of InvokeEndpointAsync.
    """

    runtime: DirectRuntime

    def __init__(
        self, *, clients: Clients, settings: AwsSettings, connections: int, queues: Address
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._connections = connections
        self._credentials = SigningCredentials(clients.credentials)
        self._clock = ClockSkew()
        self._pools: dict[tuple[str, str, int], Pool] = {}
        self._tls: ssl.SSLContext | None = None
        self._sqs = DirectSqs(self.caller(queues, queues.path, read_json))

    def queue(self, url: str) -> Queue:
        """Return the client of the queue at a URL."""
        return Queue(url, self._sqs)

    async def bucket(self, name: str) -> DirectBucket | SdkBucket:
        """Return the client of a bucket; aioboto3's where ours cannot call it."""
        sdk = SdkBucket(self._clients.s3, name, self._settings.total_timeout)
        if (address := await self._bucket_address(name)) is None:
            return sdk
        first_address = address

        async def find_caller() -> Caller | None:
            # aioboto3's client follows the redirect to another region, and remembers it. Not by a
            # HEAD: the region may be named in the response's body only.
            try:
                with translate(f"looking for bucket {name}", repeatable=True):
                    await self._clients.s3.list_objects_v2(Bucket=name, MaxKeys=0)
            except (CallError, Denied):
                pass
            new_address = await self._bucket_address(name)
            return (
                None if new_address in (None, first_address) else self._bucket_caller(new_address)
            )

        return DirectBucket(
            name=name, caller=self._bucket_caller(address), find_caller=find_caller, sdk=sdk
        )

    def caller(
        self, address: Address, base: str, read_error: Callable[[Response], tuple[str, str]]
    ) -> Caller:
        """Return the caller of a service at an address."""
        key = (address.scheme, address.host, address.port)
        if (pool := self._pools.get(key)) is None:
            settings = self._settings
            pool = self._pools[key] = Pool(
                Origin(
                    address.host,
                    address.port,
                    self._tls_context() if address.scheme == "https" else None,
                ),
                max_connections=self._connections,
                connect_timeout=settings.connect_timeout,
                timeouts=Timeouts(
                    silence=settings.read_timeout,
                    total=settings.total_timeout,
                    idle=_MAX_IDLE_SECONDS,
                    age=_MAX_AGE_SECONDS,
                ),
            )
        return Caller(
            address,
            base=base,
            pool=pool,
            credentials=self._credentials,
            clock=self._clock,
            read_error=read_error,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()

    async def _bucket_address(self, bucket: str) -> Address | None:
        return await address_of(self._clients.s3, "list_objects_v2", Bucket=bucket)

    def _bucket_caller(self, address: Address) -> Caller:
        return self.caller(address, address.path.rstrip("/"), read_xml)

    def _tls_context(self) -> ssl.SSLContext:
        """Return the TLS context; it checks certificates by AWS_CA_BUNDLE, or certifi."""
        if self._tls is None:
            bundle = self._clients.ca_bundle
            try:
                self._tls = ssl.create_default_context(cafile=bundle or get_cert_path(True))
            except OSError as error:
                raise ConfigError(
                    f"the certificate authorities in {bundle} cannot be used ({error.strerror}). "
                    "Correct AWS_CA_BUNDLE (or REQUESTS_CA_BUNDLE), or ca_bundle in your AWS "
                    "configuration file"
                ) from error
        return self._tls
