"""Direct client: every call, against an emulator that checks the signatures."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest

from dispatcher.aws.requests import InvokeRequest, Location
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.settings import AwsSettings, EmulatorSettings, ServiceTime
from dispatcher.emulator.server import Emulator
from dispatcher.errors import Denied, DispatcherError

BUCKET = Emulator.input_bucket
KEYS = [
    "plain/key-1_2.json~",
    "a b",
    " a  b ",
    "a+b",
    "50%",
    "%41%2F",
    "a//b",
    "//a",
    "a/",
    "./a",
    "../a",
    "a/./b/../c",
    "..",
    ".",
    "~'\"()*!",
    "&=?#;:@,$",
    "[]{}|\\^`<>",
    "ä/漢/😀",
    "e\u0301",
    "\u2028\xa0\x85",
    "line\r\nbreak\ttab\x7f",
    "x" * 1024,
]
serials = count()


def invocation(
    *, body: bytes | None = None, input_location: str | None = None, **given: str
) -> InvokeRequest:
    inference_id = f"id-{next(serials)}"
    return InvokeRequest(
        endpoint="emulated",
        inference_id=inference_id,
        content_type=given.get("content_type", "application/json"),
        output_extension="tag/0",
        filename=f"{inference_id}.out",
        body=body,
        input_location=input_location,
        accept=given.get("accept"),
        custom_attributes=given.get("custom_attributes"),
        ttl=60,
        timeout=30,
    )


@pytest.fixture
async def emulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    settings = EmulatorSettings(verify_signatures=True, service_time=ServiceTime(median=0.0))
    async with Emulator(settings) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@asynccontextmanager
async def direct() -> AsyncIterator[Transport]:
    async with open_transport(AwsSettings(), connections=2) as transport:
        assert transport.name == "direct"
        yield transport


@pytest.fixture(params=[None, "IQoJb3JpZ2luX2VjE//+=" * 40], ids=["keys", "token"])
async def transport(
    request: pytest.FixtureRequest, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Transport]:
    if request.param is not None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", request.param)
    async with direct() as opened:
        yield opened


@pytest.mark.parametrize(
    ("content_type", "accept", "attributes"),
    [
        ("application/json", None, None),
        ("text/csv;  charset=utf-8", "application/jsonlines", "trace=1,2"),
        (" text/a ", 'a/b; c="d   e"', " b  =c "),
    ],
)
async def test_an_invocation_inline(
    emulator: Emulator,
    transport: Transport,
    content_type: str,
    accept: str | None,
    attributes: str | None,
) -> None:
    given = {"content_type": content_type, "accept": accept, "custom_attributes": attributes}
    request = invocation(
        body=b"\0\xff{}", **{name: value for name, value in given.items() if value is not None}
    )
    accepted = await transport.runtime.invoke(request)
    assert accepted.output_location is not None
    assert accepted.output_location.endswith(request.filename or "")
    await emulator.idle()


async def test_an_invocation_by_input_location(emulator: Emulator, transport: Transport) -> None:
    # What else is in KEYS, a header cannot carry, or the service does not take.
    keys = [key for key in KEYS if key.isprintable() and key == key.strip() and len(key) < 900]
    assert len(keys) > 15
    for key in keys:
        location = Location(BUCKET, key)
        await transport.objects.put(location, key.encode(), "application/json")
        request = invocation(input_location=str(location))
        await transport.runtime.invoke(request)
        await emulator.idle()
        outputs = emulator.objects(emulator.output_bucket)
        found = [body for name, body in outputs.items() if name.endswith(request.filename or "")]
        # The emulator takes a header for latin-1, so that it looks for another object then.
        assert found == ([key.encode()] if key.isascii() else [])


async def test_an_object_of_any_key(emulator: Emulator, transport: Transport) -> None:
    objects = transport.objects
    for number, key in enumerate(KEYS):
        location, body = Location(BUCKET, key), b"body %d" % number
        assert await objects.exists(location) is False
        await objects.put(location, body, " text/plain;  charset=utf-8 ")
        assert emulator.objects(BUCKET)[key] == body
        assert await objects.exists(location) is True
        async with objects.open(location) as incoming:
            assert await incoming.read() == body
    assert await objects.page(Location(BUCKET, "")) == set(KEYS)
    for number, key in enumerate(KEYS):
        found = await objects.page(Location(BUCKET, key))
        assert found == {other for other in KEYS[number:] if other.startswith(key)}
        await objects.delete(Location(BUCKET, key))
        await objects.delete(Location(BUCKET, key))
        assert key not in emulator.objects(BUCKET)


@pytest.mark.parametrize("size", [0, 1, 16_384, 262_145, 1_000_000, 3_000_000])
async def test_an_object_of_any_size(emulator: Emulator, transport: Transport, size: int) -> None:
    location, body = Location(BUCKET, "key"), bytes(size)
    await transport.objects.put(location, body, "a/b")
    assert emulator.objects(BUCKET)["key"] == body
    async with transport.objects.open(location) as incoming:
        assert incoming.size == size
        assert await incoming.read() == body


async def test_the_calls_to_a_queue(emulator: Emulator, transport: Transport) -> None:
    queue = transport.queue(emulator.queue_url)
    greetings = await queue.receive()
    assert await queue.delete([message.receipt for message in greetings]) == {}
    bodies = ["ä漢😀", "line\nbreak", '{"a": "\\"}', "x" * 10_000]
    assert await queue.send(bodies) == {}
    messages = await queue.receive()
    assert sorted(message.body for message in messages) == sorted(bodies)
    assert await queue.change_visibility([(message.receipt, 0) for message in messages]) == {}
    again = await queue.receive()
    assert sorted(message.body for message in again) == sorted(bodies)
    assert await queue.delete([message.receipt for message in again]) == {}


Call = Callable[[Emulator, Transport], Awaitable[object]]
HERE = Location(BUCKET, "key")
CALLS: dict[str, Call] = {
    "invoke inline": lambda _, t: t.runtime.invoke(invocation(body=b"{}")),
    "invoke by location": lambda _, t: t.runtime.invoke(invocation(input_location=str(HERE))),
    "put": lambda _, t: t.objects.put(HERE, b"", "a/b"),
    "get": lambda _, t: t.objects.get(HERE),
    "page": lambda _, t: t.objects.page(HERE),
    "delete": lambda _, t: t.objects.delete(HERE),
    "receive": lambda e, t: t.queue(e.queue_url).receive(),
    "delete messages": lambda e, t: t.queue(e.queue_url).delete(["receipt"]),
    "send": lambda e, t: t.queue(e.queue_url).send(["body"]),
    "change visibility": lambda e, t: t.queue(e.queue_url).change_visibility([("receipt", 0)]),
}


@pytest.mark.parametrize("token", [None, "token"])
async def test_a_wrong_secret_is_denied_by_every_call(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    if token is not None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    async with direct() as transport:
        for name, call in CALLS.items():
            with pytest.raises(DispatcherError) as raised:
                await call(emulator, transport)
            assert type(raised.value) is Denied, name
            assert "Check the credentials" in str(raised.value), name
        assert await transport.objects.exists(HERE) is None
    assert not emulator.objects(BUCKET)
    assert not emulator.objects(emulator.output_bucket)


async def test_an_unknown_access_key_is_denied_by_every_call(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDNOBODY")
    async with direct() as transport:
        for name, call in CALLS.items():
            with pytest.raises(DispatcherError) as raised:
                await call(emulator, transport)
            assert type(raised.value) is Denied, name


async def test_another_region_is_denied_by_every_call(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    async with direct() as transport:
        for name, call in CALLS.items():
            # A bucket may be elsewhere, so that S3 says where, and the call is made there.
            if name in {"put", "get", "page", "delete"}:
                continue
            with pytest.raises(DispatcherError) as raised:
                await call(emulator, transport)
            assert type(raised.value) is Denied, name
