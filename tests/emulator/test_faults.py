"""Every fault over HTTP: what a client sees of it, and what the emulator did."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest

from dispatcher.aws.requests import InvokeRequest, Location
from dispatcher.aws.session import Access
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.faults import Fault, FaultSettings
from dispatcher.config.settings import AwsSettings
from dispatcher.emulator.faults.plan import FaultPlan
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.models.model import ModelRequest, ModelResponse
from dispatcher.emulator.sagemaker.invocation import read
from dispatcher.emulator.server import Emulator
from dispatcher.errors import CallError, OutcomeUnknown, ServiceFailed, Throttled, Transient
from tests.emulator.conftest import Connect, VirtualClock, Wire
from tests.emulator.talking import (
    INVOKE,
    PREFIX,
    ask_sqs,
    events,
    invoke,
    messages,
    receive,
    running,
    texts,
)

OUTPUT, FAILURE = "emulated/output/1.out", "emulated/failure/1-error.out"
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
        emulator.url, emulator.region, emulator.access_key_id, emulator.secret_access_key
    )
    async with open_transport(AwsSettings(), connections=4, access=access) as transport:
        yield transport


async def one_invocation(emulator: Emulator, wire: Wire) -> None:
    assert (await invoke(wire, Filename="1.out", Inference_Id="id-1")).status == 202
    await emulator.idle()


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


async def test_a_look_with_expired_credentials_is_told_what_is_wrong(emulator: Emulator) -> None:
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
async def test_what_becomes_of_a_call_that_goes_wrong(
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
        wire.send("POST", INVOKE, {PREFIX + "Inference-Id": "id-1"}, b"{}", service="sagemaker")
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
        wire.send("POST", INVOKE, body=b"{}", service="sagemaker")
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


async def test_what_a_reset_has_received_comes_again(
    emulator: Emulator, wire: Wire, connect: Connect
) -> None:
    asked = {"QueueUrl": emulator.queue_url, "MaxNumberOfMessages": 10}
    with emulator.faults.inject("sqs_reset"), pytest.raises(ConnectionResetError):
        await ask_sqs(wire, "ReceiveMessage", VisibilityTimeout=0, **asked)
    wire = await connect(emulator.url)
    reply = await ask_sqs(wire, "ReceiveMessage", AttributeNames=["All"], **asked)
    counts = [
        message["Attributes"]["ApproximateReceiveCount"]
        for message in orjson.loads(reply.body)["Messages"]
    ]
    assert counts == ["2", "2"]


@pytest.mark.parametrize(
    ("operation", "asked", "left"),
    [
        ("SendMessageBatch", {"MessageBody": "a"}, (1, 3)),
        ("ChangeMessageVisibilityBatch", {"VisibilityTimeout": 0}, (1, 2)),
        ("DeleteMessageBatch", {}, (0, 1)),
    ],
)
async def test_one_entry_of_a_batch_fails_and_nothing_is_done_to_it(
    emulator: Emulator, wire: Wire, operation: str, asked: dict[str, Any], left: tuple[int, int]
) -> None:
    queue = emulator.queue_url
    handles = [message["ReceiptHandle"] for message in await receive(emulator, wire)]
    entries = [{"Id": str(n), "ReceiptHandle": h, **asked} for n, h in enumerate(handles)]
    with emulator.faults.inject("sqs_failed_entry", when=lambda call: call.id == "1") as injection:
        reply = await ask_sqs(wire, operation, QueueUrl=queue, Entries=entries)
    answer = orjson.loads(reply.body)
    assert [entry["Id"] for entry in answer["Successful"]] == ["0"]
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("1", "InternalError", False)
    assert injection.hits == 1
    assert (len(await texts(emulator, wire)), await held(emulator, wire)) == left


async def test_a_message_is_delivered_twice(emulator: Emulator, wire: Wire) -> None:
    await texts(emulator, wire)  # the test events
    queue = emulator.queue_url
    await ask_sqs(wire, "SendMessage", QueueUrl=queue, MessageBody="once")
    with emulator.faults.inject("sqs_redelivery", times=1):
        (first,), (second,) = await receive(emulator, wire), await receive(emulator, wire)
        assert await receive(emulator, wire) == []
    assert first["MessageId"] == second["MessageId"]
    assert first["ReceiptHandle"] != second["ReceiptHandle"]
    # The first handle is stale: the message stays.
    await ask_sqs(wire, "DeleteMessage", QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"])
    assert await held(emulator, wire) == 3
    await ask_sqs(wire, "DeleteMessage", QueueUrl=queue, ReceiptHandle=second["ReceiptHandle"])
    assert await held(emulator, wire) == 2


async def held(emulator: Emulator, wire: Wire) -> int:
    reply = await ask_sqs(
        wire, "GetQueueAttributes", QueueUrl=emulator.queue_url, AttributeNames=["All"]
    )
    attributes = orjson.loads(reply.body)["Attributes"]
    return int(attributes["ApproximateNumberOfMessagesNotVisible"])


# Outcomes


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ("failure", ({FAILURE}, "Failed", "failed")),
        ("failure_only", ({FAILURE}, None, "failed")),
        ("expiry", (set(), "Expired", "expired")),
        ("silent_expiry", (set(), None, "expired")),
        ("silent_output", ({OUTPUT}, None, "completed")),
    ],
)
async def test_what_is_left_of_an_invocation(
    connect: Connect, tmp_path: Path, fault: Fault, left: tuple[set[str], str | None, str]
) -> None:
    objects, status, counted = left
    async with running(state=str(tmp_path), faults=FaultSettings(**{fault: 1})) as emulator:
        wire = await connect(emulator.url)
        await one_invocation(emulator, wire)
        assert set(emulator.objects("emulator-output")) == objects
        said = [event["invocationStatus"] for event in await events(emulator, wire)]
        assert said == ([status] if status else [])
        assert getattr(emulator.endpoint("emulated"), counted) == 1
        assert emulator.faults.struck == {fault: 1}
    # It is settled, so that a new start does not run it again.
    async with running(state=str(tmp_path)) as emulator:
        assert emulator.endpoint("emulated").accepted == 0


async def test_the_model_does_not_run_for_what_expires_or_fails(
    connect: Connect, models: Callable[[Any], str]
) -> None:
    ran: list[str] = []

    def model(request: ModelRequest) -> bytes:
        ran.append(request.inference_id)
        return b"{}"

    async with running(model=models(model)) as emulator:
        wire = await connect(emulator.url)
        for fault in ("expiry", "silent_expiry", "failure", "failure_only"):
            with emulator.faults.inject(fault):
                await one_invocation(emulator, wire)
        assert ran == []
        await one_invocation(emulator, wire)
        assert ran == ["id-1"]


async def test_one_output_is_missing(connect: Connect, models: Callable[[Any], str]) -> None:
    def model(request: ModelRequest) -> ModelResponse:
        return ModelResponse(b'[{"a":1},{"a":2}]')

    async with running(model=models(model), response_in_event=True) as emulator:
        wire = await connect(emulator.url)
        with emulator.faults.inject("wrong_count", when=lambda taken: taken.inference_id == "id-1"):
            await one_invocation(emulator, wire)
        assert emulator.objects("emulator-output")[OUTPUT] == b'[{"a":1}]'
        (event,) = await events(emulator, wire)
        assert base64.b64decode(event["responseBody"]["content"]) == b'[{"a":1}]'


# Events


async def test_a_lost_event_leaves_the_output(emulator: Emulator, wire: Wire) -> None:
    with emulator.faults.inject("lost_event", times=1):
        await one_invocation(emulator, wire)
        await invoke(wire, Inference_Id="id-2")
        await emulator.idle()
    assert emulator.objects("emulator-output")[OUTPUT] == b"{}"
    assert [event["inferenceId"] for event in await events(emulator, wire)] == ["id-2"]


@pytest.mark.parametrize("raw", [True, False])
async def test_duplicates_are_messages_of_their_own_that_say_the_same(
    connect: Connect, raw: bool
) -> None:
    faults = FaultSettings(duplicate_event=1, duplicate_event_copies=5)
    async with running(raw_delivery=raw, faults=faults) as emulator:
        wire = await connect(emulator.url)
        await texts(emulator, wire)
        await one_invocation(emulator, wire)
        found = await receive(emulator, wire)
    assert len(found) == len({message["MessageId"] for message in found}) == 6
    # In an envelope it is one publication of SNS: its MessageId is the same as well.
    assert len({message["Body"] for message in found}) == 1


async def test_a_late_event_comes_in_the_end(connect: Connect, clock: VirtualClock) -> None:
    async with running(clock, faults=FaultSettings(late_event=1, late_event_delay=60)) as emulator:
        wire = await connect(emulator.url)
        await invoke(wire)
        await clock.advance(0)
        await emulator.idle()  # what is late is no work of an endpoint's
        assert emulator.endpoint("emulated").completed == 1
        await clock.advance(59)
        assert await events(emulator, wire) == []
        await clock.advance(1)
        assert len(await events(emulator, wire)) == 1


async def test_a_reordered_event_is_overtaken(connect: Connect, clock: VirtualClock) -> None:
    async with running(clock) as emulator:
        wire = await connect(emulator.url)
        with emulator.faults.inject("reordered_event", when=lambda taken: taken.serial == 1):
            for name in ("first", "second"):
                await invoke(wire, Inference_Id=name)
                await clock.advance(0)
        order = [event["inferenceId"] for event in await events(emulator, wire)]
        await clock.advance(1)
        order += [event["inferenceId"] for event in await events(emulator, wire)]
        assert order == ["second", "first"]


async def test_shuffled_duplicates_all_come(connect: Connect, clock: VirtualClock) -> None:
    faults = FaultSettings(
        duplicate_event=1, duplicate_event_copies=5, reordered_event=1, late_event=1
    )
    names = [f"{n:02}" for n in range(20)]
    async with running(clock, faults=faults) as emulator:
        wire = await connect(emulator.url)
        for name in names:
            await invoke(wire, Inference_Id=name)
        await clock.advance(0)
        await clock.advance(61)
        order = [event["inferenceId"] for event in await events(emulator, wire)]
    assert sorted(order) == sorted(names * 6)
    assert order != sorted(order)


async def test_strays_come_besides_the_event(emulator: Emulator, wire: Wire) -> None:
    await texts(emulator, wire)
    with emulator.faults.inject("foreign_event"), emulator.faults.inject("malformed_event"):
        await one_invocation(emulator, wire)
    foreign, _, true = await texts(emulator, wire)
    assert orjson.loads(foreign)["inferenceId"] != "id-1"
    assert orjson.loads(foreign)["requestParameters"]["endpointName"] == "emulated"
    assert orjson.loads(true)["inferenceId"] == "id-1"


async def test_without_events_no_fault_of_an_event_strikes(connect: Connect) -> None:
    async with running(events=False, faults=FaultSettings(foreign_event=1)) as emulator:
        wire = await connect(emulator.url)
        await one_invocation(emulator, wire)
        assert await messages(emulator, wire) == []
        assert not emulator.faults.struck


# Chance


async def test_chance_repeats_over_http(connect: Connect) -> None:
    faults = FaultSettings(
        throttle=0.2, failure=0.2, expiry=0.2, silent_output=0.2, lost_event=0.2, foreign_event=0.2
    )

    async def told(seed: int) -> tuple[list[int], list[str], Any]:
        async with running(seed=seed, instances=1, faults=faults) as emulator:
            wire = await connect(emulator.url)
            statuses = []
            for n in range(60):
                statuses.append((await invoke(wire, Inference_Id=str(n))).status)
                await emulator.idle()
            found = [event["inferenceId"] for event in await events(emulator, wire)]
            return statuses, found, emulator.faults.struck

    first = await told(1)
    assert await told(1) == first
    assert await told(2) != first
    assert set(first[2]) == faults.model_fields_set


def test_a_plan_without_faults_costs_nothing() -> None:
    plan, taken, call = FaultPlan(), read("e", {}, b"", serial=1, now=0.0), Call("sqs", "")
    answer, event = ModelResponse(b"{}"), dict[str, Any]()
    began = time.process_time()
    for _ in range(1000):
        if plan.armed:
            plan.call(call)
        plan.invocation(taken)
        plan.output(taken, answer)
        plan.silences(taken)
        plan.publication(taken, event)
    # About a microsecond an invocation, of which the emulator needs hundreds.
    assert time.process_time() - began < 0.05
