"""Faults of calls, over HTTP: the client's view, and the work done."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from dispatcher.aws.requests import InvokeRequest, Location
from dispatcher.aws.session import Access
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.faults import Fault, FaultSettings
from dispatcher.config.settings import AwsSettings
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.server import Emulator
from dispatcher.errors import CallError, OutcomeUnknown, ServiceFailed, Throttled, Transient
from tests.emulator.calls import (
    INVOKE_PATH,
    PREFIX,
    events,
    invoke,
    running,
)
from tests.emulator.conftest import Connect, VirtualClock, Wire

REQUEST = InvokeRequest(
    endpoint="emulated",
    inference_id="id-1",
    content_type="application/json",
    output_extension="run",
    filename="1.out",
    body=b"{}",
    input_location=None,
    accept=None,
    custom_attributes=None,
    ttl=60,
    timeout=30,
)

INPUT = Location("emulator-input", "k")

Does = Callable[[Transport, Emulator], Awaitable[Any]]


@asynccontextmanager
async def client_of(emulator: Emulator) -> AsyncIterator[Transport]:
    access = Access(
        endpoint_url=emulator.url,
        region=emulator.region,
        access_key_id=emulator.access_key_id,
        secret_access_key=emulator.secret_access_key,
    )
    async with open_transport(AwsSettings(), connections=4, access=access) as transport:
        yield transport


# What our own client makes of a call


INVOKES: Does = lambda transport, _: transport.runtime.invoke(REQUEST)  # noqa: E731

PUTS: Does = lambda transport, _: transport.objects.put(INPUT, b"x", "text/plain")  # noqa: E731

READS: Does = lambda transport, _: transport.objects.get(INPUT)  # noqa: E731

LOOKS: Does = lambda transport, _: transport.objects.exists(INPUT)  # noqa: E731

LISTS: Does = lambda transport, _: transport.objects.page(INPUT)  # noqa: E731

RECEIVES: Does = lambda transport, emulator: transport.queue(emulator.queue_url).receive()  # noqa: E731

SENDS: Does = lambda transport, emulator: transport.queue(emulator.queue_url).send(["a"])  # noqa: E731


@pytest.mark.parametrize(
    ("fault", "calls", "error"),
    [
        ("throttle", (INVOKES,), Throttled),
        ("server_error", (INVOKES,), ServiceFailed),
        ("reset_before", (INVOKES,), OutcomeUnknown),
        ("reset_after", (INVOKES,), OutcomeUnknown),
        ("s3_error", (PUTS, READS, LOOKS, LISTS), ServiceFailed),
        ("s3_reset", (PUTS, READS, LOOKS, LISTS), Transient),
        ("sqs_error", (RECEIVES, SENDS), ServiceFailed),
        ("sqs_reset", (RECEIVES, SENDS), Transient),
        ("expired_credentials", (INVOKES, PUTS, READS, LISTS, RECEIVES, SENDS), Transient),
    ],
)
async def test_a_call_that_goes_wrong_is_right_the_next_time(
    emulator: Emulator, fault: Fault, calls: tuple[Does, ...], error: type[CallError]
) -> None:
    async with client_of(emulator) as transport:
        await PUTS(transport, emulator)
        for does in calls:
            with emulator.faults.inject(fault, times=1) as injection:
                with pytest.raises(error) as caught:
                    await does(transport, emulator)
                assert type(caught.value) is error
                await SENDS(transport, emulator)  # what is received next
                await does(transport, emulator)
            assert injection.hits == 1
    assert emulator.faults.struck == {fault: len(calls)}


async def test_a_probe_with_expired_credentials_gets_the_reason(emulator: Emulator) -> None:
    """A HEAD is refused without a word."""
    async with client_of(emulator) as transport:
        await PUTS(transport, emulator)
        # The look itself, the search for the bucket in another region, and a GET that says why.
        with emulator.faults.inject("expired_credentials", times=3):
            with pytest.raises(Transient) as caught:
                await LOOKS(transport, emulator)
            assert caught.value.code == "ExpiredToken"
            assert await transport.objects.exists(INPUT)
        with emulator.faults.inject("expired_credentials", times=1) as injection:
            assert await transport.objects.exists(INPUT), "the GET that asks why has the answer"
        assert injection.hits == 1


@pytest.mark.parametrize(
    ("fault", "accepted"),
    [
        ("throttle", 0),
        ("server_error", 0),
        ("expired_credentials", 0),
        ("reset_before", 0),
        ("reset_after", 1),
    ],
)
async def test_a_call_is_accepted_or_not_as_its_fault_says(
    emulator: Emulator, wire: Wire, connect: Connect, fault: Fault, accepted: int
) -> None:
    with emulator.faults.inject(fault):
        if fault.startswith("reset"):
            with pytest.raises(ConnectionResetError):
                await invoke(wire)
        else:
            assert (await invoke(wire)).status >= 400
    await emulator.idle()
    assert emulator.endpoint("emulated").accepted == accepted
    assert len(await events(emulator, await connect(emulator.url))) == accepted


async def test_a_slow_accept_is_accepted_at_once(connect: Connect, clock: VirtualClock) -> None:
    async with running(
        clock, faults=FaultSettings(slow_accept=1, slow_accept_delay=30)
    ) as emulator:
        wire, other = await connect(emulator.url), await connect(emulator.url)
        wire.send(
            "POST", INVOKE_PATH, {PREFIX + "Inference-Id": "id-1"}, b"{}", service="sagemaker"
        )
        while not emulator.faults.struck:
            await anyio.lowlevel.checkpoint()
        await clock.advance(29)
        # It may be done before the client hears that it was accepted.
        assert [event["inferenceId"] for event in await events(emulator, other)] == ["id-1"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await wire.reader.readexactly(1)
        await clock.advance(1)
        assert (await wire.reply()).status == 202


async def test_a_client_that_does_not_wait_has_been_accepted_all_the_same(
    connect: Connect, clock: VirtualClock
) -> None:
    async with running(clock, faults=FaultSettings(slow_accept=1)) as emulator:
        wire = await connect(emulator.url)
        wire.send("POST", INVOKE_PATH, body=b"{}", service="sagemaker")
        while not emulator.faults.struck:
            await anyio.lowlevel.checkpoint()
        await wire.close()
        await clock.advance(2)
        assert emulator.endpoint("emulated").completed == 1


@pytest.mark.parametrize("verify", [False, True])
async def test_expired_credentials_are_refused_in_the_words_of_each_service(
    connect: Connect, verify: bool
) -> None:
    faults = FaultSettings(expired_credentials=1)
    async with running(faults=faults, verify_signatures=verify) as emulator:
        async with client_of(emulator) as transport:
            for does, code in (
                (INVOKES, "ExpiredTokenException"),
                (PUTS, "ExpiredToken"),
                (RECEIVES, "ExpiredTokenException"),
            ):
                with pytest.raises(Transient) as caught:
                    await does(transport, emulator)
                assert caught.value.code == code
        if not verify:
            wire = await connect(emulator.url)
            assert (await wire.ask("HEAD", "/emulator-input/k")).status == 400


# Calls to S3 and SQS


async def test_an_error_of_s3_does_nothing_and_a_reset_does_all(emulator: Emulator) -> None:
    objects = emulator.objects("emulator-input")
    async with client_of(emulator) as transport:
        for fault in ("s3_error", "s3_reset"):
            with (
                emulator.faults.inject(fault, when=lambda call: call.operation == "PutObject"),
                pytest.raises(CallError),
            ):
                await PUTS(transport, emulator)
            assert ("k" in objects) == (fault == "s3_reset")


async def test_a_reset_hides_a_refusal_too(emulator: Emulator, wire: Wire) -> None:
    with emulator.faults.inject("s3_reset"), pytest.raises(ConnectionResetError):
        await wire.ask("GET", "/emulator-input/nothing")


async def test_requests_behind_a_reset_are_not_answered(emulator: Emulator, wire: Wire) -> None:
    with emulator.faults.inject("s3_reset", when=lambda call: call.resource.endswith("/1")):
        for n in range(4):
            wire.send("PUT", f"/emulator-input/{n}", body=b"x")
        with pytest.raises(ConnectionResetError):
            await wire.reader.read()
    assert sorted(emulator.objects("emulator-input")) == ["0", "1"]


async def test_a_fault_can_be_aimed_at_an_object(emulator: Emulator, wire: Wire) -> None:
    seen: list[Call] = []

    def is_it(call: Call) -> bool:
        seen.append(call)
        return call.resource == "emulator-input/b"

    with emulator.faults.inject("s3_error", when=is_it):
        assert (await wire.ask("PUT", "/emulator-input/a", body=b"x")).status == 200
        assert (await wire.ask("PUT", "/emulator-input/b", body=b"x")).status == 503
        assert (await wire.ask("HEAD", "/emulator-input/a")).status == 200
        assert (await wire.ask("GET", "/emulator-input?list-type=2")).status == 200
    assert seen == [
        Call("s3", "PutObject", "emulator-input/a"),
        Call("s3", "PutObject", "emulator-input/b"),
        Call("s3", "HeadObject", "emulator-input/a"),
        Call("s3", "ListObjectsV2", "emulator-input"),
    ]
