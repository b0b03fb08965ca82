"""Signing credentials: renewal beside the calls, on a clock that only the test moves."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from aiobotocore.credentials import (
    AioCredentials,
    AioDeferredRefreshableCredentials,
    AioRefreshableCredentials,
)
from botocore.exceptions import ClientError, CredentialRetrievalError, HTTPClientError

from dispatcher.aws.direct import credentials as keyring_module
from dispatcher.aws.direct.credentials import SigningCredentials
from dispatcher.aws.direct.sigv4 import Keys, Signer
from dispatcher.errors import Denied, Transient

HOUR = 3600.0
ADVISORY, MANDATORY = HOUR - 12 * 60.0, HOUR - 5 * 60.0
"""Moments at which aiobotocore begins to renew keys of an hour, and at which it insists on it."""


class KeySource:
    """A clock, and a source of keys that last an hour; it can be slow or fail.

    Attributes:
        now: Seconds since the beginning.
        serial: How many keys there have been.
        asked: How often keys were asked for.
        gate: What must be set before keys are handed out.
        error: What is raised in place of keys.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.serial = 0
        self.asked = 0
        self.life = HOUR
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    def local_now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    def keys(self, serial: int) -> Keys:
        return Keys(f"AKID{serial}", f"secret{serial}", f"token{serial}")

    async def fetch(self) -> dict[str, str]:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.serial += 1
        expiry = self.local_now() + timedelta(seconds=self.life)
        return {
            "access_key": f"AKID{self.serial}",
            "secret_key": f"secret{self.serial}",
            "token": f"token{self.serial}",
            "expiry_time": expiry.isoformat(),
        }

    def refreshable(self) -> Any:
        return AioRefreshableCredentials(
            "AKID0",
            "secret0",
            "token0",
            self.local_now() + timedelta(seconds=HOUR),
            refresh_using=self.fetch,
            method="test",
            time_fetcher=self.local_now,
        )

    def deferred(self) -> Any:
        return AioDeferredRefreshableCredentials(
            refresh_using=self.fetch, method="test", time_fetcher=self.local_now
        )


@pytest.fixture
def key_source(monkeypatch: pytest.MonkeyPatch) -> KeySource:
    made = KeySource()
    monkeypatch.setattr(keyring_module, "time", SimpleNamespace(monotonic=lambda: 1e6 + made.now))
    return made


@pytest.fixture
async def credentials(key_source: KeySource) -> SigningCredentials:
    """Return one that has handed out the first keys."""
    made = SigningCredentials(key_source.refreshable())
    assert made.keys() is None
    assert await made.renew() == key_source.keys(0)
    assert made.keys() == key_source.keys(0)
    return made


async def started(credentials: SigningCredentials) -> "asyncio.Task[Keys]":
    """Return a caller that has asked for keys and got as far as it gets."""
    task = asyncio.create_task(credentials.renew())
    for _ in range(5):
        await asyncio.sleep(0)
    return task


def failed(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == keyring_module.__name__]


def retrieval_error() -> CredentialRetrievalError:
    return CredentialRetrievalError(provider="test", error_msg="no more")


async def test_keys_that_never_change(key_source: KeySource) -> None:
    credentials = SigningCredentials(AioCredentials("AKID", "secret"))
    assert credentials.keys() is None
    keys = await credentials.renew()
    assert keys == Keys("AKID", "secret", None)
    for _ in range(3):
        assert credentials.keys() is keys
        key_source.now += HOUR
        assert credentials.keys() is None
        # The same object, so that the signer's key of the day is found at once.
        assert await credentials.renew() is keys


@pytest.mark.parametrize(("token", "expected"), [("token", "token"), ("", None), (None, None)])
async def test_a_token_that_is_empty_is_none(
    key_source: KeySource, token: str | None, expected: str | None
) -> None:
    assert await SigningCredentials(AioCredentials("AKID", "secret", token)).renew() == Keys(
        "AKID", "secret", expected
    )


async def test_credentials_are_looked_at_once_a_second(
    key_source: KeySource, credentials: SigningCredentials
) -> None:
    for _ in range(10):
        key_source.now += 0.9
        assert credentials.keys() == key_source.keys(0)
        key_source.now += 0.2
        assert credentials.keys() is None
        assert await credentials.renew() == key_source.keys(0)
    assert key_source.asked == 0


async def test_one_call_waits_for_new_keys_and_all_others_go_on(
    key_source: KeySource, credentials: SigningCredentials
) -> None:
    key_source.now = ADVISORY
    key_source.gate.clear()
    assert credentials.keys() is None
    waiting = await started(credentials)
    assert not waiting.done()
    for _ in range(100):
        assert credentials.keys() == key_source.keys(0)
    # It takes longer than the second after which keys are looked at again.
    for _ in range(5):
        key_source.now += 1.1
        assert credentials.keys() == key_source.keys(0)
    key_source.gate.set()
    assert await waiting == key_source.keys(1)
    assert credentials.keys() == key_source.keys(1)
    assert key_source.asked == 1


async def test_also_shortly_before_the_end_only_one_call_waits(
    key_source: KeySource, credentials: SigningCredentials
) -> None:
    key_source.now = MANDATORY
    key_source.gate.clear()
    waiting = await started(credentials)
    for _ in range(3):
        for _ in range(100):
            assert credentials.keys() == key_source.keys(0)
        key_source.now += 1.1
    assert not waiting.done()
    key_source.gate.set()
    assert await waiting == key_source.keys(1)
    assert key_source.asked == 1
    assert credentials.keys() == key_source.keys(1)


async def test_a_waiting_call_may_be_cancelled(
    key_source: KeySource, credentials: SigningCredentials
) -> None:
    key_source.now = MANDATORY
    key_source.gate.clear()
    waiting = await started(credentials)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    key_source.gate.set()
    assert credentials.keys() is None, "the next call asks"
    assert await credentials.renew() == key_source.keys(1)


async def test_the_very_first_call_may_be_cancelled(key_source: KeySource) -> None:
    credentials = SigningCredentials(key_source.deferred())
    key_source.gate.clear()
    waiting = await started(credentials)
    second = await started(credentials)
    waiting.cancel()
    key_source.gate.set()
    assert await second == key_source.keys(1)
    assert credentials.keys() == key_source.keys(1)


async def test_a_failure_while_there_is_time_is_tried_again(
    key_source: KeySource, credentials: SigningCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    key_source.now = ADVISORY
    key_source.error = retrieval_error()
    assert await credentials.renew() == key_source.keys(0)
    assert credentials.keys() == key_source.keys(0)
    assert failed(caplog) == []  # aiobotocore warns of it
    key_source.error = None
    key_source.now += 1.1
    assert await credentials.renew() == key_source.keys(1)


@pytest.mark.parametrize(
    "error",
    [
        retrieval_error(),
        HTTPClientError(error="unreachable"),
        ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole"),
        # As of a process that prints something else than it should.
        ValueError("Expecting value: line 1 column 1 (char 0)"),
    ],
    ids=["retrieval", "network", "denied", "garbage"],
)
async def test_a_failure_while_keys_are_good_is_a_warning(
    key_source: KeySource,
    credentials: SigningCredentials,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    key_source.now = MANDATORY
    key_source.error = error
    caplog.set_level(logging.WARNING)
    assert await credentials.renew() == key_source.keys(0)
    (said,) = failed(caplog)
    assert said.startswith("AWS credentials could not be renewed, and are still good: ")
    assert "secret" not in said
    assert "token0" not in said
    # Calls do not pay for each other's failures; one a second asks again.
    assert credentials.keys() == key_source.keys(0)
    assert key_source.asked == 1
    key_source.now += 1.1
    key_source.error = None
    assert await credentials.renew() == key_source.keys(1)


async def test_keys_that_have_expired_and_cannot_be_renewed_are_denied(
    key_source: KeySource, credentials: SigningCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    key_source.now = HOUR + 1
    key_source.error = retrieval_error()
    for count in (1, 2):
        assert credentials.keys() is None
        with pytest.raises(Denied, match="credentials could not be had for signing requests"):
            await credentials.renew()
        assert key_source.asked == count
    assert failed(caplog) == []
    key_source.error = None
    assert await credentials.renew() == key_source.keys(1)


async def test_keys_that_have_expired_and_cannot_be_had_just_now(
    key_source: KeySource, credentials: SigningCredentials
) -> None:
    key_source.now = HOUR + 1
    key_source.error = HTTPClientError(error="unreachable")
    with pytest.raises(Transient):
        await credentials.renew()
    assert credentials.keys() is None


async def test_new_keys_that_have_expired_already_are_denied(
    key_source: KeySource, credentials: SigningCredentials
) -> None:
    key_source.now = HOUR + 1
    key_source.life = -1.0
    with pytest.raises(Denied, match="still expired"):
        await credentials.renew()


async def test_garbage_in_place_of_keys_is_denied(
    key_source: KeySource, credentials: SigningCredentials
) -> None:
    key_source.now = HOUR + 1
    key_source.error = ValueError("Expecting value: line 1 column 1 (char 0)")
    with pytest.raises(Denied, match="Expecting value"):
        await credentials.renew()


async def test_the_first_keys_cannot_be_had(key_source: KeySource) -> None:
    credentials = SigningCredentials(key_source.deferred())
    key_source.error = retrieval_error()
    with pytest.raises(Denied):
        await credentials.renew()
    assert credentials.keys() is None
    key_source.error = None
    assert await credentials.renew() == key_source.keys(1)


async def test_after_a_refusal_the_next_call_asks(
    key_source: KeySource, credentials: SigningCredentials
) -> None:
    key_source.now = ADVISORY
    key_source.error = retrieval_error()
    assert await credentials.renew() == key_source.keys(0)
    key_source.error = None
    assert credentials.keys() == key_source.keys(0)
    credentials.expire()
    assert credentials.keys() is None
    assert await credentials.renew() == key_source.keys(1)
    assert credentials.keys() == key_source.keys(1)


async def test_after_a_refusal_one_call_asks_and_the_others_go_on(
    key_source: KeySource, credentials: SigningCredentials
) -> None:
    key_source.now = MANDATORY
    key_source.gate.clear()
    credentials.expire()
    waiting = await started(credentials)
    assert credentials.keys() == key_source.keys(0)
    key_source.gate.set()
    assert await waiting == key_source.keys(1)


async def test_new_keys_make_new_signatures(
    key_source: KeySource, credentials: SigningCredentials
) -> None:
    signer = Signer("sagemaker", "us-east-1")

    def sign(keys: Keys) -> str:
        return signer.authorization(
            "GET",
            "/",
            "",
            lines="host:h\nx-amz-date:20260101T000000Z\n",
            names="host;x-amz-date",
            payload_hash="",
            keys=keys,
            stamp="20260101T000000Z",
        )

    before = sign(await credentials.renew())
    key_source.now = ADVISORY
    assert sign(await credentials.renew()) != before
    assert "AKID1/" in sign(await credentials.renew())
    assert sign(key_source.keys(0)) == before
