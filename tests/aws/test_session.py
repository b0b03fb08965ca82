"""Session: credentials, region and endpoints from settings and environment, and their errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from botocore.loaders import Loader

from dispatcher.aws import session as session_module
from dispatcher.aws.requests import InvokeRequest
from dispatcher.aws.session import Access
from dispatcher.aws.transport import open_transport
from dispatcher.config.settings import AwsSettings
from dispatcher.errors import ConfigError, Denied, DispatcherError

if TYPE_CHECKING:
    from tests.aws.conftest import Connect, WireServer

REQUEST = InvokeRequest(
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
ASSUMED = b"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>
<AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>
<SessionToken>role-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"""


async def mistake(connect: Connect, settings: AwsSettings, error: type[DispatcherError]) -> str:
    with pytest.raises(error) as raised:
        async with connect(settings):
            pass
    assert type(raised.value) is error
    return str(raised.value)


async def test_no_region(connect: Connect, credentials: None) -> None:
    said = await mistake(connect, AwsSettings(), ConfigError)
    assert "no AWS region is known. Set aws.region" in said


async def test_no_credentials(connect: Connect) -> None:
    said = await mistake(connect, AwsSettings(region="eu-west-1"), Denied)
    assert said.startswith("no AWS credentials were found")
    assert "AWS_PROFILE" in said


async def test_half_of_the_credentials(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    await mistake(connect, AwsSettings(region="eu-west-1"), Denied)


@pytest.mark.parametrize("region", ["eu-west-1", None])
async def test_an_unknown_profile(connect: Connect, region: str | None) -> None:
    said = await mistake(connect, AwsSettings(profile="nobody", region=region), ConfigError)
    assert "nobody" in said
    assert "aws.profile" in said


@pytest.mark.parametrize("name", ["config", "credentials"])
async def test_a_file_that_cannot_be_read(connect: Connect, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[default\nregion")
    said = await mistake(connect, AwsSettings(region="eu-west-1"), ConfigError)
    assert str(tmp_path / name) in said


@pytest.mark.parametrize("url", ["127.0.0.1:4599", "nonsense"])
async def test_an_endpoint_that_is_no_url(
    connect: Connect, credentials: None, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    said = await mistake(connect, AwsSettings(), ConfigError)
    assert "AWS_ENDPOINT_URL" in said


@pytest.mark.parametrize("where", ["variable", "file"])
@pytest.mark.parametrize(
    "content",
    [None, b"", b"no certificates", b"-----BEGIN CERTIFICATE-----\n\xff\n"],
    ids=["missing", "empty", "garbage", "half"],
)
async def test_authorities_that_cannot_be_read(
    credentials: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    content: bytes | None,
    where: str,
) -> None:
    bundle = tmp_path / "authorities.pem"
    if content is not None:
        bundle.write_bytes(content)
    if where == "variable":
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    else:
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {bundle}\n")
    with pytest.raises(ConfigError) as raised:
        async with open_transport(AwsSettings(region="eu-west-1"), connections=1):
            pass
    said = str(raised.value)
    assert f"the certificate authorities in {bundle} cannot be used (" in said
    assert "Correct AWS_CA_BUNDLE (or REQUESTS_CA_BUNDLE), or ca_bundle in your AWS" in said


async def test_a_server_that_no_authority_knows_is_never_spoken_to(
    tls_wire: WireServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_wire.responses = [tls_wire.response("202 Accepted", b"{}")]
    monkeypatch.delenv("AWS_CA_BUNDLE")
    async with connect() as transport:
        with pytest.raises(Denied, match="AWS_CA_BUNDLE") as raised:
            await transport.runtime.invoke(REQUEST)
    assert "is not trusted while invoking endpoint churn" in str(raised.value)
    assert tls_wire.requests == []


@pytest.mark.parametrize("spoilt", [False, True])
async def test_authorities_may_be_those_of_requests(
    tls_wire: WireServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    spoilt: bool,
) -> None:
    """As in botocore: where AWS_CA_BUNDLE names none, and only then."""
    tls_wire.responses = [tls_wire.response("202 Accepted", b"{}")]
    bundle = os.environ["AWS_CA_BUNDLE"]
    if spoilt:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing"))
    else:
        monkeypatch.delenv("AWS_CA_BUNDLE")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    async with connect() as transport:
        await transport.runtime.invoke(REQUEST)
    assert len(tls_wire.requests) == 1


async def test_a_region_that_is_none(connect: Connect, credentials: None) -> None:
    said = await mistake(connect, AwsSettings(region="not a region!"), ConfigError)
    assert "aws.region" in said


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"])
async def test_an_endpoint_in_the_environment_needs_no_region(
    wire: WireServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv(name, wire.url)
    wire.responses = [wire.response("202 Accepted", b"{}")]
    async with connect() as transport:
        await transport.runtime.invoke(REQUEST)
    assert "/us-east-1/sagemaker/" in wire.requests[0].headers["authorization"]


async def test_settings_go_before_the_environment(
    wire: WireServer, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text(
        "[batch]\naws_access_key_id = AKIDBATCH\naws_secret_access_key = s\n"
    )
    wire.responses = [wire.response("202 Accepted", b"{}")]
    async with connect(AwsSettings(region="ap-south-1", profile="batch")) as transport:
        await transport.runtime.invoke(REQUEST)
    signature = wire.requests[0].headers["authorization"]
    assert "Credential=AKIDBATCH/" in signature
    assert "/ap-south-1/sagemaker/" in signature


async def test_a_profile_brings_its_region(
    wire: WireServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    (tmp_path / "config").write_text("[profile batch]\nregion = sa-east-1\n")
    (tmp_path / "credentials").write_text(
        "[batch]\naws_access_key_id = AKIDBATCH\naws_secret_access_key = s\n"
    )
    wire.responses = [wire.response("202 Accepted", b"{}")]
    async with connect(AwsSettings(profile="batch")) as transport:
        await transport.runtime.invoke(REQUEST)
    assert "/sa-east-1/sagemaker/" in wire.requests[0].headers["authorization"]


async def test_access_goes_before_everything(
    wire: WireServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    closed_port: Callable[[], str],
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", closed_port())
    wire.responses = [wire.response("202 Accepted", b"{}")]
    access = Access(
        endpoint_url=wire.url, region="eu-north-1", access_key_id="AKIDBOX", secret_access_key="s"
    )
    settings = AwsSettings(role_arn="arn:aws:iam::123456789012:role/r", region="eu-west-1")
    async with connect(settings, access=access) as transport:
        await transport.runtime.invoke(REQUEST)
    assert len(wire.requests) == 1, "no role is assumed in the box"
    signature = wire.requests[0].headers["authorization"]
    assert "Credential=AKIDBOX/" in signature
    assert "/eu-north-1/sagemaker/" in signature


async def test_a_role_is_assumed_once_and_signs(wire: WireServer, connect: Connect) -> None:
    wire.responses = [
        wire.response("200 OK", ASSUMED, Content_Type="text/xml"),
        wire.response("202 Accepted", b"{}"),
    ]
    role = "arn:aws:iam::123456789012:role/r"
    async with connect(AwsSettings(role_arn=role)) as transport:
        await transport.runtime.invoke(REQUEST)
        await transport.runtime.invoke(REQUEST)
    assume, *calls = wire.requests
    assert b"Action=AssumeRole" in assume.body
    assert b"role%2Fr" in assume.body
    assert "Credential=AKIDEXAMPLE/" in assume.headers["authorization"]
    assert len(calls) == 2
    for call in calls:
        assert "Credential=ASIAROLE/" in call.headers["authorization"]
        assert call.headers["x-amz-security-token"] == "role-token"


async def test_a_role_that_may_not_be_assumed(wire: WireServer, connect: Connect) -> None:
    wire.responses = [
        wire.response(
            "403 Forbidden",
            b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
            b"<Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>",
            Content_Type="text/xml",
        )
    ]
    role = AwsSettings(role_arn="arn:aws:iam::123456789012:role/r")
    said = await mistake(connect, role, Denied)
    assert "sts:AssumeRole" in said


def runtime_members(session: aioboto3.Session) -> dict[str, object]:
    loader = session._session.get_component("data_loader")
    model = loader.load_service_model("sagemaker-runtime", "service-2")
    members: dict[str, object] = model["shapes"]["InvokeEndpointAsyncInput"]["members"]
    return members


def test_an_old_model_learns_what_it_lacks() -> None:
    session = aioboto3.Session()
    session_module._extend_runtime_model(session)
    assert {"Body", "Filename", "S3OutputPathExtension"} <= runtime_members(session).keys()


def test_a_model_that_knows_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    newer: dict[str, Any] = {"shapes": {"InvokeEndpointAsyncInput": {"members": {"Body": {}}}}}
    monkeypatch.setattr(Loader, "load_service_model", lambda *_arguments: newer)
    session = aioboto3.Session()
    before = list(session._session.get_component("data_loader").search_paths)
    session_module._extend_runtime_model(session)
    assert session._session.get_component("data_loader").search_paths == before
