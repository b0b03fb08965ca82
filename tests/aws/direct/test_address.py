"""Addresses of calls, against those that botocore itself sends to."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse

from dispatcher.aws import transport as transport_module
from dispatcher.aws.direct.address import Address, address_of
from dispatcher.aws.direct.bucket import DirectBucket
from dispatcher.aws.requests import InvokeRequest, Location
from dispatcher.aws.sdk.bucket import SdkBucket
from dispatcher.aws.session import Clients, open_clients
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.settings import AwsSettings
from dispatcher.errors import Rejected

if TYPE_CHECKING:
    from tests.aws.conftest import WireServer

pytestmark = pytest.mark.usefixtures("credentials")

VPCE = "vpce-0a1b2c3d-4e5f6a7b"
SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request")


@dataclass
class Place:
    """An environment, and hosts that are known to be right in it.

    Attributes:
        hosts: Of the runtime, of SQS, and of S3 for the bucket ``dispatcher``.
    """

    name: str
    hosts: tuple[str, str, str]
    region: str = "eu-west-1"
    environ: dict[str, str] = field(default_factory=dict)
    config: str = ""

    def __str__(self) -> str:
        return self.name


def endpoints(runtime: str, sqs: str, s3: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": runtime,
        "AWS_ENDPOINT_URL_SQS": sqs,
        "AWS_ENDPOINT_URL_S3": s3,
    }


PLACES = [
    Place(
        "plain",
        (
            "runtime.sagemaker.eu-west-1.amazonaws.com",
            "sqs.eu-west-1.amazonaws.com",
            "dispatcher.s3.eu-west-1.amazonaws.com",
        ),
    ),
    Place(
        "us-east-1",
        (
            "runtime.sagemaker.us-east-1.amazonaws.com",
            "sqs.us-east-1.amazonaws.com",
            "dispatcher.s3.amazonaws.com",
        ),
        region="us-east-1",
    ),
    Place(
        "china",
        (
            "runtime.sagemaker.cn-north-1.amazonaws.com.cn",
            "sqs.cn-north-1.amazonaws.com.cn",
            "dispatcher.s3.cn-north-1.amazonaws.com.cn",
        ),
        region="cn-north-1",
    ),
    Place(
        "govcloud",
        (
            "runtime.sagemaker.us-gov-west-1.amazonaws.com",
            "sqs.us-gov-west-1.amazonaws.com",
            "dispatcher.s3.us-gov-west-1.amazonaws.com",
        ),
        region="us-gov-west-1",
    ),
    Place(
        "fips",
        (
            "runtime-fips.sagemaker.us-east-1.amazonaws.com",
            "sqs-fips.us-east-1.amazonaws.com",
            "dispatcher.s3-fips.us-east-1.amazonaws.com",
        ),
        region="us-east-1",
        environ={"AWS_USE_FIPS_ENDPOINT": "true"},
    ),
    Place(
        "dual-stack",
        (
            "runtime.sagemaker.eu-west-1.api.aws",
            "sqs.eu-west-1.api.aws",
            "dispatcher.s3.dualstack.eu-west-1.amazonaws.com",
        ),
        environ={"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    ),
    Place(
        "one endpoint for all",
        ("emulator.local:4599", "emulator.local:4599", "emulator.local:4599"),
        environ={"AWS_ENDPOINT_URL": "http://emulator.local:4599"},
    ),
    Place(
        "an endpoint with a path",
        ("emulator.local", "emulator.local", "emulator.local"),
        environ={"AWS_ENDPOINT_URL": "http://emulator.local:80/some%20api/v1/"},
    ),
    Place(
        "an IPv6 endpoint",
        ("[::1]:4599", "[::1]:4599", "[::1]:4599"),
        environ={"AWS_ENDPOINT_URL": "http://[::1]:4599"},
    ),
    Place(
        "an IPv6 endpoint with a path",
        ("[2001:db8::1]", "[2001:db8::1]", "[2001:db8::1]"),
        environ={"AWS_ENDPOINT_URL": "https://[2001:db8::1]:443/api"},
    ),
    Place(
        "an IPv4 endpoint",
        ("127.0.0.1:4599", "127.0.0.1:4599", "127.0.0.1:4599"),
        environ={"AWS_ENDPOINT_URL": "http://127.0.0.1:4599/"},
    ),
    Place(
        "an endpoint for each",
        ("runtime.local:1", "sqs.local:2", "s3.local:3"),
        environ={
            "AWS_ENDPOINT_URL": "http://nobody.local",
            **endpoints("http://runtime.local:1/a", "https://sqs.local:2", "http://s3.local:3/c/"),
        },
    ),
    Place(
        "VPC endpoints",
        (
            f"{VPCE}.runtime.sagemaker.eu-west-1.vpce.amazonaws.com",
            f"{VPCE}.sqs.eu-west-1.vpce.amazonaws.com",
            f"bucket.{VPCE}.s3.eu-west-1.vpce.amazonaws.com",
        ),
        environ=endpoints(
            f"https://{VPCE}.runtime.sagemaker.eu-west-1.vpce.amazonaws.com",
            f"https://{VPCE}.sqs.eu-west-1.vpce.amazonaws.com",
            f"https://bucket.{VPCE}.s3.eu-west-1.vpce.amazonaws.com",
        ),
    ),
    Place(
        "services of a profile",
        ("runtime.local:1", "sqs.local:2", "s3.local:3"),
        environ={"AWS_PROFILE": "mine"},
        config="""
            [profile mine]
            services = local
            [services local]
            sagemaker_runtime =
              endpoint_url = http://runtime.local:1
            sqs =
              endpoint_url = http://sqs.local:2
            s3 =
              endpoint_url = http://s3.local:3
        """,
    ),
    Place(
        "endpoints of a profile that are ignored",
        (
            "runtime.sagemaker.eu-west-1.amazonaws.com",
            "sqs.eu-west-1.amazonaws.com",
            "dispatcher.s3.eu-west-1.amazonaws.com",
        ),
        environ={"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        config="""
            [default]
            endpoint_url = http://nobody.local
        """,
    ),
    Place(
        "path style",
        (
            "runtime.sagemaker.eu-west-1.amazonaws.com",
            "sqs.eu-west-1.amazonaws.com",
            "s3.eu-west-1.amazonaws.com",
        ),
        config="""
            [default]
            s3 =
              addressing_style = path
        """,
    ),
    Place(
        "accelerated",
        (
            "runtime.sagemaker.eu-west-1.amazonaws.com",
            "sqs.eu-west-1.amazonaws.com",
            "dispatcher.s3-accelerate.amazonaws.com",
        ),
        config="""
            [default]
            s3 =
              use_accelerate_endpoint = true
        """,
    ),
    Place(
        "dual-stack for S3 alone",
        (
            "runtime.sagemaker.eu-west-1.amazonaws.com",
            "sqs.eu-west-1.amazonaws.com",
            "dispatcher.s3.dualstack.eu-west-1.amazonaws.com",
        ),
        config="""
            [default]
            s3 =
              use_dualstack_endpoint = true
        """,
    ),
    Place(
        "FIPS and dual-stack of a profile",
        (
            "runtime.sagemaker-fips.us-east-1.api.aws",
            "sqs-fips.us-east-1.api.aws",
            "dispatcher.s3-fips.dualstack.us-east-1.amazonaws.com",
        ),
        region="us-east-1",
        config="""
            [default]
            use_fips_endpoint = true
            use_dualstack_endpoint = true
        """,
    ),
]


def enter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: Place) -> AwsSettings:
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    lines = [line.removeprefix(" " * 12) for line in place.config.splitlines()]
    (tmp_path / "config").write_text("\n".join(lines))
    return AwsSettings(region=place.region)


@asynccontextmanager
async def clients_of(settings: AwsSettings) -> AsyncIterator[Clients]:
    async with open_clients(settings, connections=2) as clients:
        yield clients


def by_botocore(service: str, region: str, operation: str, **parameters: object) -> Address:
    """Return where botocore sends an operation, asked on its own."""
    caught: list[Any] = []

    def catch(request: Any, **_: object) -> AWSResponse:
        caught.append(request)
        raw = type("Raw", (), {"stream": lambda self: iter([b""]), "read": lambda self: b""})()
        return AWSResponse(request.url, 200, {}, raw)

    client = botocore.session.Session().create_client(service, region_name=region)
    client.meta.events.register("before-send", catch)
    getattr(client, operation)(**parameters)
    (request,) = caught
    url = urlsplit(request.url)
    assert url.hostname is not None
    scope = SCOPE.search(request.headers["Authorization"].decode())
    assert scope is not None
    standard = 443 if url.scheme == "https" else 80
    port = url.port or standard
    # The Host header that was signed.
    host = re.sub(r"^.*@", "", url.netloc)
    authority = host.removesuffix(f":{standard}") if port == standard else host
    return Address(
        scheme=url.scheme,
        host=url.hostname,
        port=port,
        authority=authority,
        path=url.path,
        region=scope[1],
        service=scope[2],
    )


INVOKE: dict[str, Any] = {"EndpointName": "churn", "InputLocation": "s3://b/k"}
RECEIVE: dict[str, Any] = {"QueueUrl": "https://sqs.us-west-2.amazonaws.com/1/q"}
LIST: dict[str, Any] = {"Bucket": "dispatcher"}


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_each_service_is_where_botocore_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: Place
) -> None:
    region = place.region
    async with clients_of(enter(monkeypatch, tmp_path, place)) as clients:
        runtime = await address_of(clients.runtime, "invoke_endpoint_async", **INVOKE)
        queues = await address_of(clients.sqs, "receive_message", **RECEIVE)
        objects = await address_of(clients.s3, "list_objects_v2", **LIST)
    assert runtime == by_botocore("sagemaker-runtime", region, "invoke_endpoint_async", **INVOKE)
    assert queues == by_botocore("sqs", region, "receive_message", **RECEIVE)
    assert objects == by_botocore("s3", region, "list_objects_v2", **LIST)
    assert (runtime.authority, queues.authority, objects.authority) == place.hosts
    assert (runtime.service, queues.service, objects.service) == ("sagemaker", "sqs", "s3")


INVOCATION = InvokeRequest(
    endpoint="churn",
    inference_id="id",
    content_type="application/json",
    output_extension="tag/0",
    filename="id.out",
    body=b"{}",
    input_location=None,
    accept=None,
    custom_attributes=None,
    ttl=60,
    timeout=30,
)
ACCOUNT = "123456789012"
BUCKETS = {
    "dispatcher": ("dispatcher.s3.eu-west-1.amazonaws.com", "s3"),
    "a.b.c": ("s3.eu-west-1.amazonaws.com", "s3"),
    "UPPER_case": ("s3.eu-west-1.amazonaws.com", "s3"),
    f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/name": (
        f"name-{ACCOUNT}.s3-accesspoint.us-west-2.amazonaws.com",
        "s3",
    ),
    f"arn:aws:s3-object-lambda:eu-west-1:{ACCOUNT}:accesspoint/name": (
        f"name-{ACCOUNT}.s3-object-lambda.eu-west-1.amazonaws.com",
        "s3-object-lambda",
    ),
    f"arn:aws:s3-outposts:eu-west-1:{ACCOUNT}:outpost/op-01234567890123456/accesspoint/name": (
        f"name-{ACCOUNT}.op-01234567890123456.s3-outposts.eu-west-1.amazonaws.com",
        "s3-outposts",
    ),
}


async def test_each_bucket_is_where_botocore_says() -> None:
    async with clients_of(AwsSettings(region="eu-west-1")) as clients:
        for bucket, (host, service) in BUCKETS.items():
            found = await address_of(clients.s3, "list_objects_v2", Bucket=bucket)
            assert found == by_botocore("s3", "eu-west-1", "list_objects_v2", Bucket=bucket)
            assert (found.host, found.service) == (host, service)


@pytest.mark.parametrize("bucket", ["", "a b", "a/b", "a\r\nb", "x" * 256])
async def test_a_bucket_of_a_name_that_none_has_is_rejected(bucket: str) -> None:
    async with clients_of(AwsSettings(region="eu-west-1")) as clients:
        with pytest.raises(Rejected):
            await address_of(clients.s3, "list_objects_v2", Bucket=bucket)


# Nothing is sent


async def test_to_ask_is_not_to_send(wire: "WireServer") -> None:
    async with open_transport(AwsSettings(), connections=2) as transport:
        assert transport.name == "direct"
        await transport.objects._bucket(Location("bucket", "key"))
    assert wire.requests == []


async def test_only_who_asks_is_stopped(wire: "WireServer") -> None:
    wire.responses = [wire.response("204 No Content")]
    async with clients_of(AwsSettings()) as clients:

        async def ask() -> Address | None:
            return await address_of(clients.s3, "list_objects_v2", Bucket="bucket")

        await ask()
        # Others use the client during the look-up, and so does its caller.
        deletes = [clients.s3.delete_object(Bucket="bucket", Key=f"key-{i}") for i in range(3)]
        found, *_ = await asyncio.gather(ask(), *deletes, ask())
        await clients.s3.delete_object(Bucket="bucket", Key="key-3")
    assert found is not None
    assert sorted(request.target for request in wire.requests) == [
        f"/bucket/key-{i}" for i in range(4)
    ]


async def test_an_endpoint_with_a_path(wire: "WireServer", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{wire.url}/some%20api")
    targets: dict[str, list[str]] = {}
    for name in ("direct", "aioboto3"):
        settings = AwsSettings.model_validate({"transport": name})
        async with open_transport(settings, connections=2) as transport:
            assert transport.name == name
            wire.responses = [wire.response("200 OK")]
            await transport.objects.put(Location("bucket", "a  b/../+ä//c"), b"", "a/b")
            await transport.objects.delete(Location("bucket", "key"))
            wire.responses = [wire.response("200 OK", b"{}")]
            await transport.queue("https://sqs/1/q").receive()
            await transport.runtime.invoke(INVOCATION)
        targets[name] = [request.target.removesuffix("/") for request in wire.requests]
        wire.requests.clear()
    assert targets["direct"] == targets["aioboto3"]
    assert all("api/" in f"{target}/" for target in targets["direct"])


# Where it cannot serve


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.name == transport_module.__name__]


PROXY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"HTTPS_PROXY": PROXY}, "aioboto3"),
        ({"https_proxy": PROXY}, "aioboto3"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com"}, "aioboto3"),
        # One service through the proxy is all of it through aioboto3.
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "sqs.eu-west-1.amazonaws.com"}, "aioboto3"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "amazonaws.com"}, "direct"),
        ({"HTTPS_PROXY": PROXY, "no_proxy": ".amazonaws.com"}, "direct"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, "direct"),
        ({"HTTP_PROXY": PROXY}, "direct"),
        ({"HTTPS_PROXY": ""}, "direct"),
        ({"AWS_ENDPOINT_URL": "http://10.0.0.1:4599", "HTTP_PROXY": PROXY}, "aioboto3"),
        ({"AWS_ENDPOINT_URL": "http://10.0.0.1:4599", "http_proxy": PROXY}, "aioboto3"),
        ({"AWS_ENDPOINT_URL": "http://10.0.0.1:4599", "HTTPS_PROXY": PROXY}, "direct"),
        (
            {
                "AWS_ENDPOINT_URL": "http://10.0.0.1:4599",
                "HTTP_PROXY": PROXY,
                "NO_PROXY": "10.0.0.1",
            },
            "direct",
        ),
    ],
)
async def test_a_proxy_is_left_to_aioboto3(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    environ: dict[str, str],
    name: str,
) -> None:
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    caplog.set_level(logging.INFO)
    async with open_transport(AwsSettings(region="eu-west-1"), connections=2) as transport:
        assert transport.name == name
    said = warnings(caplog)
    assert len(said) == (name == "aioboto3")
    assert all("cannot serve through a proxy" in line for line in said)


async def test_transport_aioboto3_is_chosen_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = AwsSettings(region="eu-west-1", transport="aioboto3")
    async with open_transport(settings, connections=2) as transport:
        assert transport.name == "aioboto3"
    assert warnings(caplog) == []


async def kind_of(transport: Transport, bucket: str) -> type:
    return type(await transport.objects._bucket(Location(bucket, "key")))


async def test_a_bucket_behind_a_proxy_is_left_to_aioboto3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = [
        "runtime.sagemaker.eu-west-1.amazonaws.com",
        "sqs.eu-west-1.amazonaws.com",
        "dispatcher.s3.eu-west-1.amazonaws.com",
        "near.s3.eu-west-1.amazonaws.com",
    ]
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", ",".join(hosts))
    async with open_transport(AwsSettings(region="eu-west-1"), connections=2) as transport:
        assert transport.name == "direct"
        assert await kind_of(transport, "near") is DirectBucket
        assert await kind_of(transport, "far") is SdkBucket


SESSION = b"""<CreateSessionResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Credentials>
<AccessKeyId>ASIASESSION</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>of-the-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>
</Credentials></CreateSessionResult>"""
EXPRESS = "name--use1-az4--x-s3"


async def test_s3_express_is_left_to_aioboto3(wire: "WireServer") -> None:
    wire.responses = [wire.response("200 OK", SESSION), wire.response("200 OK")]
    async with open_transport(AwsSettings(), connections=2) as transport:
        assert transport.name == "direct"
        assert await kind_of(transport, EXPRESS) is SdkBucket
        assert wire.requests == []
        # That a session was asked for, and stopped, does not stand in the way of the real one.
        await transport.objects.put(Location(EXPRESS, "key"), b"body", "a/b")
    session, put = wire.requests
    assert session.target.endswith("?session")
    assert put.method == "PUT"
    assert put.headers["x-amz-s3session-token"] == "of-the-session"
    assert "Credential=ASIASESSION/" in put.headers["authorization"]


async def test_an_express_session_that_is_there_already(wire: "WireServer") -> None:
    wire.responses = [wire.response("200 OK", SESSION), wire.response("200 OK")]
    async with clients_of(AwsSettings()) as clients:
        await clients.s3.delete_object(Bucket=EXPRESS, Key="key")
        assert await address_of(clients.s3, "list_objects_v2", Bucket=EXPRESS) is None
    assert len(wire.requests) == 2
