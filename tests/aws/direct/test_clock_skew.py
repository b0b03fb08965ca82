"""Clock skew: requests are signed with AWS's time where this machine's is wrong."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher import limits
from dispatcher.aws.direct import clock_skew as clock_module
from dispatcher.aws.direct.clock_skew import ClockSkew
from dispatcher.aws.preflight.probe import probe
from dispatcher.aws.requests import InvokeRequest, Location
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.settings import AwsSettings, Config, EmulatorSettings, ServiceTime
from dispatcher.emulator.clock import WallClock
from dispatcher.emulator.server import Emulator
from dispatcher.errors import Denied, Transient
from dispatcher.observe.meter import Meter
from dispatcher.run.pipeline import run

NOW = 1_767_225_600.0
HOUR = 3600.0


def http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == clock_module.__name__]


# What is learnt


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("apart", "learns"), [(0, False), (59, False), (60, True), (1e9, True)])
def test_a_minute_is_learnt_and_less_is_not(sign: int, apart: float, learns: bool) -> None:
    clock = ClockSkew(lambda: NOW)
    theirs = NOW + sign * apart
    assert clock.learn(http_date(theirs)) is learns
    assert clock.now() == (theirs if learns else NOW)
    assert clock.learn(http_date(theirs)) is False


def test_what_was_learnt_moves_with_the_time_and_can_be_learnt_again() -> None:
    now = NOW
    clock = ClockSkew(lambda: now)
    assert clock.learn(http_date(NOW + HOUR))
    now += 100
    assert clock.now() == NOW + HOUR + 100
    assert not clock.learn(http_date(NOW + HOUR + 101))
    # This machine's clock was set.
    now += HOUR
    assert clock.learn(http_date(now))
    assert clock.now() == now


def test_a_correction_is_said(caplog: pytest.LogCaptureFixture) -> None:
    clock = ClockSkew(lambda: NOW)
    clock.learn(http_date(NOW + HOUR))
    clock.learn(http_date(NOW + HOUR + 59))
    clock.learn(http_date(NOW - 2 * HOUR))
    ahead, behind = warnings(caplog)
    assert "clock is -3600 s off" in ahead
    assert "clock is +7200 s off" in behind


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "garbage",
        "Mon, 99 Jan 2024 00:00:00 GMT",
        "Mon, 01 Jan 2024 25:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +9999",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Foo 2024 00:00:00 GMT",
        "\0",
        "1767225600",
    ],
)
def test_a_date_that_is_none_teaches_nothing(
    date: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ClockSkew(lambda: NOW)
    assert not clock.learn(date)
    assert clock.now() == NOW
    assert warnings(caplog) == []


fields = st.one_of(
    st.integers().map(str),
    st.sampled_from(["Mon", "Mon,", "Jan", "GMT", "UTC", "+0000", "-0000", ":", "00:00:00", "99"]),
)


@settings(max_examples=500, derandomize=True, database=None, deadline=None)
@given(st.one_of(st.text(), st.lists(fields, max_size=8).map(" ".join)))
def test_no_date_is_an_error(date: str) -> None:
    clock = ClockSkew(lambda: NOW)
    learnt = clock.learn(date)
    assert (clock.now() != NOW) is learnt


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as there:
        there.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("zone", ["GMT", "UTC", "+0000", "-0000", ""])
def test_a_date_is_of_greenwich_wherever_this_machine_is(
    far_from_greenwich: None, zone: str
) -> None:
    clock = ClockSkew(lambda: NOW)
    assert clock.learn(f"Thu, 01 Jan 2026 02:00:00 {zone}")
    assert clock.now() == NOW + 2 * HOUR


# Against a server that minds


class Elsewhere(WallClock):
    """The real time, and some seconds."""

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    def now(self) -> float:
        return super().now() + self._ahead


@asynccontextmanager
async def called(
    monkeypatch: pytest.MonkeyPatch,
    *,
    ahead: float,
    secret: str | None = None,
    connections: int = 2,
) -> AsyncIterator[tuple[Emulator, Transport]]:
    """Start a server whose clock is ahead of ours, and open a direct transport to it."""
    settings = EmulatorSettings(verify_signatures=True, service_time=ServiceTime(median=0.0))
    async with Emulator(settings, clock=Elsewhere(ahead)) as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        if secret is not None:
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        async with open_transport(AwsSettings(), connections=connections) as transport:
            assert transport.name == "direct"
            yield emulator, transport


OBJECT = Location(Emulator.input_bucket, "folder/a  b+ä")
Call = Callable[[Emulator, Transport], Awaitable[object]]


async def invoke(_: Emulator, transport: Transport) -> object:
    return await transport.runtime.invoke(
        InvokeRequest(
            endpoint="emulated",
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
    )


async def put(_: Emulator, transport: Transport) -> None:
    await transport.objects.put(OBJECT, b"body", "a/b")


async def head(_: Emulator, transport: Transport) -> object:
    found = await transport.objects.exists(OBJECT)
    if found is None:
        raise Denied("it cannot be seen")
    return found


async def page(_: Emulator, transport: Transport) -> object:
    return await transport.objects.page(OBJECT)


async def delete(_: Emulator, transport: Transport) -> None:
    await transport.objects.delete(OBJECT)


async def receive(emulator: Emulator, transport: Transport) -> object:
    # The notifications that a topic sends of itself are there from the beginning.
    messages = await transport.queue(emulator.queue_url).receive()
    assert messages
    return messages


async def send(emulator: Emulator, transport: Transport) -> object:
    return await transport.queue(emulator.queue_url).send(["a"])


async def poll(emulator: Emulator, transport: Transport) -> object:
    return await transport.queue(emulator.queue_url).receive()


CALLS = [invoke, put, head, page, delete, receive, send]


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
@pytest.mark.parametrize("call", CALLS)
async def test_a_wrong_clock_costs_one_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: Call, ahead: float
) -> None:
    caplog.set_level(logging.WARNING)
    async with called(monkeypatch, ahead=ahead) as (emulator, transport):
        with pytest.raises(Transient, match="the clock was wrong while"):
            await call(emulator, transport)
        await call(emulator, transport)
        # What one service has taught holds for all.
        for other in (invoke, put, send):
            await other(emulator, transport)
    (said,) = warnings(caplog)
    # In the second of the response's Date, and with what time went by.
    assert f"{-ahead:+.0f}"[:3] in said or f"{1 - ahead:+.0f}"[:3] in said


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
@pytest.mark.parametrize("call", [invoke, put, head, page, delete, poll, send])
async def test_a_wrong_clock_denies_none_of_many_calls_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: Call, ahead: float
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(limits, "SQS_LONG_POLL_SECONDS", 0)
    async with called(monkeypatch, ahead=ahead, connections=16) as (emulator, transport):
        calls = (call(emulator, transport) for _ in range(16))
        ends = await asyncio.gather(*calls, return_exceptions=True)
        broken = [end for end in ends if isinstance(end, BaseException)]
        assert {type(end) for end in broken} == {Transient}
        assert len(broken) > 1, "they were not refused at once"
        await asyncio.gather(*(call(emulator, transport) for _ in range(16)))
    assert len(warnings(caplog)) == 1


def configuration(folder: Path, emulator: Emulator) -> Config:
    return Config.model_validate(
        {
            "endpoint": "emulated",
            "source": {"path": str(folder / "in.jsonl"), "key": "id"},
            "completion": {"queue_url": emulator.queue_url},
            "staging": {"bucket": emulator.input_bucket},
            "ledger": {"path": str(folder / "ledger.db")},
            "sink": {"path": str(folder / "results.jsonl")},
            "dead_letters": {"path": str(folder / "dead.jsonl")},
        }
    )


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_a_run_with_a_wrong_clock_ends_well(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    ahead: float,
) -> None:
    records = [{"id": f"r{n}", "text": "x" * (200_000 if n % 10 == 0 else 10)} for n in range(40)]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "in.jsonl").write_text(lines)
    async with called(monkeypatch, ahead=ahead) as (emulator, _):
        await run(configuration(tmp_path, emulator), meter=Meter())
    results = [json.loads(r) for r in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert sorted(r["key"] for r in results) == sorted(str(r["id"]) for r in records)
    assert (tmp_path / "dead.jsonl").read_text() == ""
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_a_look_at_the_account_with_a_wrong_clock_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ahead: float
) -> None:
    async with called(monkeypatch, ahead=ahead) as (emulator, _):
        found = {f.name: f for f in await probe(configuration(tmp_path, emulator))}
    assert found.pop("credentials").ok is True
    assert found.keys() == {"endpoint", "completion queue", "staging bucket", "staging"}
    for finding in found.values():
        assert finding.ok is None, finding


@pytest.mark.parametrize("call", CALLS)
async def test_a_refusal_when_the_clock_is_right_is_denied(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: Call
) -> None:
    async with called(monkeypatch, ahead=20.0, secret="wrong") as (emulator, transport):
        for _ in range(2):
            with pytest.raises(Denied):
                await call(emulator, transport)
    assert warnings(caplog) == []


@pytest.mark.parametrize("call", [invoke, put, head, receive])
async def test_a_refusal_is_denied_once_the_clock_is_right(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: Call
) -> None:
    async with called(monkeypatch, ahead=-HOUR, secret="wrong") as (emulator, transport):
        with pytest.raises(Transient):
            await call(emulator, transport)
        for _ in range(2):
            with pytest.raises(Denied):
                await call(emulator, transport)
    assert len(warnings(caplog)) == 1
