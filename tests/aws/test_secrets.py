"""Law: errors never show a token, attribute or signature that a service repeats."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from dispatcher.aws.error_mapping import by_code
from dispatcher.aws.requests import InvokeRequest, Location
from dispatcher.aws.transport import Transport
from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.server import Emulator
from dispatcher.errors import Denied
from tests.aws.conftest import Connect
from tests.faults import crash

TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE//+="
ATTRIBUTES = "customer=4711"
NEVER = (
    TOKEN,
    ATTRIBUTES,
    "aws4-hmac",
    "aws4_request",
    "canonical",
    "string-to-sign",
    "x-amz-date",
    "signedheaders",
    "traceback",
)
HERE = Location(Emulator.input_bucket, "key")


def assert_shows_nothing(said: str) -> None:
    for secret in NEVER:
        assert secret.lower() not in said.lower()


def invocation(**given: Any) -> InvokeRequest:
    return InvokeRequest(
        endpoint="emulated",
        inference_id="id-0",
        content_type="application/json",
        output_extension="tag/0",
        filename="id-0.out",
        body=given.get("body"),
        input_location=given.get("input_location"),
        accept=None,
        custom_attributes=ATTRIBUTES,
        ttl=60,
        timeout=30,
    )


Call = Callable[[Emulator, Transport], Awaitable[object]]
CALLS: dict[str, Call] = {
    "invoke": lambda _, t: t.runtime.invoke(invocation(body=b"{}")),
    "invoke-by-location": lambda _, t: t.runtime.invoke(invocation(input_location=str(HERE))),
    "put": lambda _, t: t.objects.put(HERE, b"", "a/b"),
    "get": lambda _, t: t.objects.get(HERE),
    "page": lambda _, t: t.objects.page(HERE),
    "delete": lambda _, t: t.objects.delete(HERE),
    "receive": lambda e, t: t.queue(e.queue_url).receive(),
    "delete-messages": lambda e, t: t.queue(e.queue_url).delete(["receipt"]),
    "send": lambda e, t: t.queue(e.queue_url).send(["body"]),
    "change-visibility": lambda e, t: t.queue(e.queue_url).change_visibility([("receipt", 0)]),
}


@pytest.fixture
async def emulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    settings = EmulatorSettings(verify_signatures=True)
    async with Emulator(settings) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_wrong_secret_shows_nothing_of_the_request(
    emulator: Emulator, connect: Connect, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    async with connect() as transport:
        with pytest.raises(Denied) as raised:
            await call(emulator, transport)
    said = str(raised.value)
    assert "The request signature we calculated does not match the signature you provided." in said
    assert_shows_nothing(said + repr(raised.value))


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("first\nsecond", "first"),
        ("\r\n \nfirst\r\nsecond", "first"),
        ("first\rsecond", "first"),
        ("x" * 10_000, "x" * 500),
    ],
)
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 400),
        ("NoSuchBucket", 404),
        ("RequestTimeTooSkewed", 403),
        ("PermanentRedirect", 301),
        ("InternalFailure", 500),
        ("SignatureDoesNotMatch", 403),
        ("BadDigest", 400),
        ("Unheard", 400),
    ],
)
def test_of_every_refusal_only_the_first_line_is_shown(
    code: str, status: int, message: str, shown: str
) -> None:
    said = str(by_code(code, status, message, action="trying"))
    assert f"({code}: {shown}" in said
    assert "second" not in said
    assert "\n" not in said
    assert "x" * 501 not in said


@pytest.mark.parametrize("transport", ["direct", "aioboto3"])
def test_a_wrong_secret_shows_nothing_on_the_screen(tmp_path: Path, transport: str) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "r0", "text": "x"}\n')
    common = {"request": {"custom_attributes": ATTRIBUTES}, "aws": {"transport": transport}}
    bare: dict[str, Any] = {"completion": {"queue_url": None}, "staging": {"bucket": None}}
    with crash.emulator(tmp_path, "--verify-signatures") as given:
        wrong = {"AWS_SECRET_ACCESS_KEY": "wrong", "AWS_SESSION_TOKEN": TOKEN}
        environment = os.environ | given | wrong

        def said(*arguments: str, **sections: dict[str, Any]) -> str:
            config = crash.configure(tmp_path, given, **common, **sections)
            ended = subprocess.run(
                [sys.executable, "-m", "dispatcher", arguments[0], str(config), *arguments[1:]],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode != 0
            return ended.stdout + ended.stderr

        # The first is stopped by the look at the queue, the second by an invocation.
        for shown in (said("run"), said("run", **bare), said("check", "--aws")):
            assert "signature we calculated does not match" in shown
            assert_shows_nothing(shown)
