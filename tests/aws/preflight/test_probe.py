"""Probe of queue and bucket before a run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dispatcher.aws.preflight import probe
from dispatcher.aws.session import Access
from dispatcher.config.faults import Fault
from dispatcher.config.settings import Config, EmulatorSettings
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.server import Emulator
from dispatcher.flow.finding import Finding

LOOKS = {"sqs": "GetQueueAttributes", "s3": "ListObjectsV2"}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(EmulatorSettings()) as running:
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_RETRY_PAUSES_SECONDS", (0.0, 0.0))


async def looked_at(emulator: Emulator, folder: Path) -> list[Finding]:
    config = Config.model_validate(
        {
            "endpoint": "emulated",
            "source": {"path": str(folder / "in.jsonl")},
            "completion": {"queue_url": emulator.queue_url},
            "staging": {"bucket": emulator.input_bucket},
        }
    )
    access = Access(
        endpoint_url=emulator.url,
        region=emulator.region,
        access_key_id=emulator.access_key_id,
        secret_access_key=emulator.secret_access_key,
    )
    return await probe.probe(config, access)


@pytest.mark.parametrize(
    ("service", "fault"),
    [("sqs", "sqs_error"), ("sqs", "sqs_reset"), ("s3", "s3_error"), ("s3", "expired_credentials")],
)
@pytest.mark.parametrize("times", [2, 3])
async def test_what_soon_passes_is_asked_again_but_not_forever(
    emulator: Emulator, tmp_path: Path, service: str, fault: Fault, times: int
) -> None:
    def when(call: Call) -> bool:
        return (call.service, call.operation) == (service, LOOKS[service])

    with emulator.faults.inject(fault, times=times, when=when) as injection:
        findings = await looked_at(emulator, tmp_path)
    assert injection.hits == times
    failed = [finding for finding in findings if finding.ok is False]
    assert len(failed) == (0 if times == 2 else 1), findings


async def test_an_address_that_does_not_respond_is_reported_at_once(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_RETRY_PAUSES_SECONDS", (1_000.0,))
    await emulator.__aexit__(None, None, None)
    findings = await looked_at(emulator, tmp_path)
    assert [finding.ok for finding in findings] == [True, False, False, False]
    await emulator.__aenter__()
