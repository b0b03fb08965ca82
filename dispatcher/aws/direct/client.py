"""Our own client of the three services, opened on aioboto3's session."""

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

_IDLE_SECONDS = 12.0
"""How long a connection waits for the next request: as in aiobotocore, less than S3 allows."""

_AGE_SECONDS = 300.0
"""How long a connection is used: names of AWS move to other addresses."""

_SAMPLE = "dispatcher"
"""In place of a name that does not bear on the address."""


@asynccontextmanager
async def open_direct(
    clients: Clients, settings: AwsSettings, connections: int
) -> AsyncIterator["Direct | None"]:
    """Open our own client and close it at the end of the block.

    Args:
        clients: aioboto3's, which know credentials and addresses.
        settings: Time-outs.
        connections: Most connections to each host at once.

    Yields:
        The client; None where it cannot serve.

    Raises:
        ConfigError: The file of certificate authorities cannot be used.
    """
    operation = f"/endpoints/{_SAMPLE}/async-invocations"
    runtime = await address_of(
        clients.runtime, "invoke_endpoint_async", EndpointName=_SAMPLE, Body=b"-"
    )
    queues = await address_of(clients.sqs, "receive_message", QueueUrl=f"https://{_SAMPLE}/1/q")
    objects = await address_of(clients.s3, "list_objects_v2", Bucket=_SAMPLE)
    if runtime is None or queues is None or objects is None:
        yield None
        return
    direct = Direct(clients, settings, connections, queues)
    try:
        direct.runtime = DirectRuntime(
            direct.caller(runtime, runtime.path.removesuffix(operation), read_json)
        )
        yield direct
    finally:
        with anyio.CancelScope(shield=True):
            await direct.aclose()


class Direct:
    """The three services; made by ``open_direct``.

    Attributes:
        runtime: InvokeEndpointAsync.
    """

    runtime: DirectRuntime

    def __init__(
        self, clients: Clients, settings: AwsSettings, connections: int, queues: Address
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._connections = connections
        self._keyring = SigningCredentials(clients.credentials)
        self._clock = ClockSkew()
        self._pools: dict[tuple[str, str, int], Pool] = {}
        self._tls: ssl.SSLContext | None = None
        self._sqs = DirectSqs(self.caller(queues, queues.path, read_json))

    def queue(self, url: str) -> Queue:
        """Return the calls to the queue of a URL."""
        return Queue(url, self._sqs)

    async def bucket(self, name: str) -> DirectBucket | SdkBucket:
        """Return the calls to a bucket; those of aioboto3 where it is one that we cannot call."""
        sdk = SdkBucket(self._clients.s3, name, self._settings.total_timeout)
        if (address := await self._where_is(name)) is None:
            return sdk
        here = address

        async def find() -> Caller | None:
            # aioboto3's client finds out where a bucket is when it is sent away, and remembers it.
            # Not by a HEAD: the region may be named in the answer's body only.
            try:
                with translate(f"looking for bucket {name}", repeatable=True):
                    await self._clients.s3.list_objects_v2(Bucket=name, MaxKeys=0)
            except (CallError, Denied):
                pass
            there = await self._where_is(name)
            return None if there in (None, here) else self._bucket_caller(there)

        return DirectBucket(name, self._bucket_caller(address), find, sdk)

    def caller(
        self, address: Address, base: str, read_refusal: Callable[[Response], tuple[str, str]]
    ) -> Caller:
        """Return what calls a service at an address."""
        key = (address.scheme, address.host, address.port)
        if (pool := self._pools.get(key)) is None:
            settings = self._settings
            pool = self._pools[key] = Pool(
                Origin(
                    address.host,
                    address.port,
                    self._trust() if address.scheme == "https" else None,
                ),
                max_connections=self._connections,
                connect_timeout=settings.connect_timeout,
                timeouts=Timeouts(
                    silence=settings.read_timeout,
                    total=settings.total_timeout,
                    idle=_IDLE_SECONDS,
                    age=_AGE_SECONDS,
                ),
            )
        return Caller(
            address,
            base=base,
            pool=pool,
            keyring=self._keyring,
            clock=self._clock,
            read_refusal=read_refusal,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()

    async def _where_is(self, bucket: str) -> Address | None:
        return await address_of(self._clients.s3, "list_objects_v2", Bucket=bucket)

    def _bucket_caller(self, address: Address) -> Caller:
        return self.caller(address, address.path.rstrip("/"), read_xml)

    def _trust(self) -> ssl.SSLContext:
        """Return how TLS is spoken: certificates are checked by AWS_CA_BUNDLE, or certifi."""
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
