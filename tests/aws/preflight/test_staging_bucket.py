"""Staging check: every call of a run is tried, and nothing stays."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dispatcher.aws.preflight import probe
from dispatcher.aws.preflight.lifecycle import rule_of
from dispatcher.aws.session import Access, open_clients
from dispatcher.config.settings import Config, EmulatorSettings
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.server import Emulator
from dispatcher.flow.finding import Finding

KEPT = {"encryption": "aws:kms", "kms_key": "k", "tags": {"team": "a b"}}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(EmulatorSettings(verify_signatures=True)) as running:
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probe, "_RETRY_PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def access_to(emulator: Emulator) -> Access:
    return Access(
        endpoint_url=emulator.url,
        region=emulator.region,
        access_key_id=emulator.access_key_id,
        secret_access_key=emulator.secret_access_key,
    )


async def looked(
    emulator: Emulator, access: Access | None = None, **staging: Any
) -> dict[str, Finding]:
    config = Config.model_validate(
        {
            "endpoint": "emulated",
            "source": {"path": "in.jsonl"},
            "staging": {"bucket": emulator.input_bucket, **staging},
        }
    )
    findings = await probe.probe(config, access or access_to(emulator), days=3)
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize("staging", [{}, KEPT], ids=["plain", "kept"])
async def test_everything_is_tried_and_nothing_stays(
    emulator: Emulator, staging: dict[str, Any]
) -> None:
    found = await looked(emulator, **staging)
    for name in ("staging bucket", "staging", "staging in parts", "deleting"):
        assert found[name].ok is True, found
    assert "lifecycle rule" not in found
    assert not emulator.objects(emulator.input_bucket)


async def test_a_missing_permission_to_write_is_named(emulator: Emulator) -> None:
    found = await looked(emulator, replace(access_to(emulator), access_key_id="denied"), **KEPT)
    assert found["staging bucket"].ok is None  # to look is not needed
    assert found["staging"].ok is False
    for permission in ("s3:PutObject", "s3:PutObjectTagging", "kms:GenerateDataKey"):
        assert permission in found["staging"].detail
    assert "deleting" not in found


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("PutObject", "staging"),
        ("AbortMultipartUpload", "staging in parts"),
        ("DeleteObject", "deleting"),
    ],
)
async def test_what_could_not_be_tried_is_reported_and_proves_nothing(
    emulator: Emulator, operation: str, name: str
) -> None:
    def when(call: Call) -> bool:
        return call.operation == operation

    with emulator.faults.inject("s3_error", times=2, when=when):
        assert (await looked(emulator))[name].ok is True  # what soon passes is asked again
    with emulator.faults.inject("s3_error", times=3, when=when):
        found = (await looked(emulator))[name]
    assert found.ok is None
    assert "It needs s3:" in found.detail


async def test_the_rule_of_the_bucket_is_looked_at(emulator: Emulator) -> None:
    async def judged() -> Finding:
        return (await looked(emulator, delete="by_lifecycle"))["lifecycle rule"]

    access = access_to(emulator)
    bucket = emulator.input_bucket
    config = Config.model_validate({"endpoint": "e", "source": {"path": "in"}})
    assert (await judged()).ok is False
    async with open_clients(config.aws, connections=1, access=access) as clients:
        for rule, ok in ((rule_of("other/", 3), False), (rule_of("staged/", 3), True)):
            await clients.s3.put_bucket_lifecycle_configuration(
                Bucket=bucket, LifecycleConfiguration={"Rules": [rule]}
            )
            found = await judged()
            assert found.ok is ok, found
        await clients.s3.delete_bucket_lifecycle(Bucket=bucket)
    assert (await judged()).ok is False
