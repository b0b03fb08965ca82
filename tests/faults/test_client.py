"""On a real socket, with any fault, a call ends with its own answer or with the right error.

What was not sent, or not wholly, is ``Transient``; an invocation that was sent and has no whole
answer is ``OutcomeUnknown``; calls that may be repeated are ``Transient`` in either case.
"""

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from dispatcher.aws.http.connection import PIECE_BYTES, Connection
from dispatcher.aws.requests import InvokeResponse, Location, SqsMessage
from dispatcher.aws.session import Access
from dispatcher.aws.transport import Transport, open_transport
from dispatcher.config.settings import AwsSettings
from dispatcher.errors import CallError, OutcomeUnknown, ServiceFailed, Transient
from tests.aws.http.peer import (
    HOST,
    MARK,
    OK,
    SECRET,
    TIMEOUTS,
    TOKEN,
    Client,
    Line,
    Script,
    Trust,
    answers_ok,
    assert_shows_no_secret,
    client_of,
    closed_port,
    forward,
    invocation,
    make_trust,
    open_and_idle,
    peer,
    permits,
    until,
    until_quiet,
)

with_a_clock = pytest.mark.asyncio(loop_factories=["asyncio"])
KEY = Location("in", "staged/x")
LARGE = MARK + bytes(8_000_000)
MUCH = 100_000_000
SOME = 20_000_000
"""More than the buffers of the kernel take of what is not read."""


@pytest.fixture(scope="session")
def trust() -> Trust:
    return make_trust()


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, trust: Trust) -> Trust | None:
    return trust if request.param == "tls" else None


@contextlib.asynccontextmanager
async def facing(
    script: Script, tls: Trust | None = None, *, max_connections: int = 4, receive_buffer: int = 0
) -> AsyncIterator[tuple[list[Line], Client]]:
    """Call a server that follows a script; at the end nothing may be left."""
    server = tls.server if tls else None
    async with (
        peer(script, tls=server, receive_buffer=receive_buffer) as there,
        client_of(
            there.port, max_connections=max_connections, tls=tls.client if tls else None
        ) as client,
    ):
        yield there.lines, client


async def invoke(client: Client) -> object:
    return await client.runtime.invoke(invocation())


async def invoke_much(client: Client) -> object:
    return await client.runtime.invoke(invocation(body=(MARK * 6400)[:128_000]))


async def put(client: Client) -> None:
    await client.objects.put(KEY, MARK, "text/plain")


async def put_large(client: Client) -> None:
    await client.objects.put(KEY, LARGE, "text/plain")


async def get(client: Client) -> object:
    async with client.objects.open(KEY) as incoming:
        return await incoming.read()


async def page(client: Client) -> object:
    return await client.objects.page(KEY)


async def receive(client: Client) -> object:
    return await client.queue.receive()


async def send(client: Client) -> object:
    return await client.queue.send([MARK.decode()])


Call = Callable[[Client], Awaitable[object]]
CALLS = (invoke, invoke_much, put, get, page, receive, send)


async def fails(
    client: Client, call: Call, error: type[CallError], code: str = "NoAnswer"
) -> CallError:
    """Call, and return the error, which is the right one and shows no secret."""
    with pytest.raises(CallError) as raised:
        await call(client)
    assert type(raised.value) is error
    assert raised.value.code == code
    assert_shows_no_secret(raised.value)
    assert permits(client.pool) == 4
    return raised.value


def lost(call: Call) -> type[CallError]:
    """Return what a call ends in that was sent and has no answer."""
    return OutcomeUnknown if call in (invoke, invoke_much) else Transient


# Faults: what a server may do once it has the request


async def resets(line: Line) -> None:
    await line.request()
    line.reset()


async def closes(line: Line) -> None:
    await line.request()


def says(data: bytes, *, then_resets: bool = False) -> Script:
    async def script(line: Line) -> None:
        await line.request()
        await line.say(data)
        if then_resets:
            await until_quiet()  # what was said is read first
            line.reset()

    return script


def says_forever(start: bytes, again: bytes) -> Script:
    async def script(line: Line) -> None:
        await line.request()
        await line.say(start)
        await line.say_again_and_again(again, max_bytes=MUCH)

    return script


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

FAULTS: dict[str, Script] = {
    "reset": resets,
    "closed": closes,
    "half a head": says(b"HTTP/1.1 202 Acc"),
    "half a head, then reset": says(b"HTTP/1.1 202 Acc", then_resets=True),
    "half a body": says(HALF),
    "half a body, then reset": says(HALF, then_resets=True),
    "half a chunk": says(CHUNKED + b"50\r\n{"),
    "chunks without an end": says(CHUNKED + b"2\r\n{}\r\n"),
    "only 100": says(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "101": says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
    "garbage": says(bytes(range(256)) * 4),
    "another protocol": says(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "two lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "garbage without end": says_forever(b"", b"\0" * 65_536),
    "one header without end": says_forever(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 65_536),
    "headers without end": says_forever(b"HTTP/1.1 200 OK\r\n", b"X-Header: value\r\n" * 4096),
    "100 without end": says_forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4096),
    "extensions without end": says_forever(CHUNKED + b"5;", b"a" * 65_536),
    "trailers without end": says_forever(CHUNKED + b"0\r\n", b"X-Header: value\r\n" * 4096),
    "a body without end": says_forever(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 65_536),
    "chunks without end": says_forever(CHUNKED, b"10000\r\n" + b"a" * 65_536 + b"\r\n"),
    "a refusal of 100 MB": says_forever(
        b"HTTP/1.1 500 X\r\nContent-Length: 100000000\r\n\r\n", b"a" * 65_536
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_without_a_whole_response_the_outcome_is_unknown(call: Call, fault: Script) -> None:
    async with facing(fault) as (lines, client):
        await fails(client, call, lost(call))
        (line,) = lines
        await line.over()
        assert len(line.asked) == 1, "no hidden retries"
        assert line.sent < SOME


@pytest.mark.parametrize("call", [invoke, put, get])
@pytest.mark.parametrize(
    "name", ["reset", "closed", "half a head", "half a body", "garbage", "chunks without end"]
)
async def test_tls_hides_nothing_of_it(trust: Trust, call: Call, name: str) -> None:
    async with facing(FAULTS[name], trust) as (lines, client):
        await fails(client, call, lost(call))
        assert len(lines) == 1


@pytest.mark.parametrize("call", CALLS)
async def test_a_refused_connection(call: Call) -> None:
    async with client_of(closed_port()) as client:
        for _ in range(2):
            await fails(client, call, Transient, "NoConnection")


@pytest.mark.parametrize("call", CALLS)
async def test_a_reset_in_the_handshake(trust: Trust, call: Call) -> None:
    async def slams(line: Line) -> None:
        await line.reader.read(1)
        line.reset()

    async with peer(slams) as there, client_of(there.port, tls=trust.client) as client:
        await fails(client, call, Transient, "NoConnection")


async def test_a_reset_before_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is gone between the moment of connecting and that of sending."""

    async def slams(line: Line) -> None:
        line.reset()

    take = Connection.exchange

    async def late(self: Connection, *args: object, **named: object) -> object:
        await until(lambda: not self.is_usable)
        return await take(self, *args, **named)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(Connection, "exchange", late)
    async with facing(slams) as (_, client):
        for call in CALLS:
            await fails(client, call, Transient, "NoConnection")


async def test_a_reset_amid_a_large_request(tls: Trust | None) -> None:
    async def slams(line: Line) -> None:
        await line.head()
        await line.reader.readexactly(1000)
        line.reset()

    async with facing(slams, tls) as (lines, client):
        await fails(client, put_large, Transient, "NoConnection")
        assert len(lines) == 1


@with_a_clock
@pytest.mark.parametrize("ending", ["reset", "silence"])
async def test_an_invocation_of_which_a_part_never_left(
    monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Small buffers on both sides hold most of a body of one write back."""
    go_on = asyncio.Event()

    async def takes_little(line: Line) -> None:
        await line.head()
        line.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's has it
        await go_on.wait()
        line.reset()

    made = Connection.connection_made

    def with_a_small_buffer(self: Connection, transport: asyncio.Transport) -> None:
        plug = transport.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        made(self, transport)

    monkeypatch.setattr(Connection, "connection_made", with_a_small_buffer)
    async with facing(takes_little, receive_buffer=2048) as (lines, client):
        failing = asyncio.create_task(fails(client, invoke_much, Transient, "NoConnection"))
        await until(lambda: any(one.is_write_paused for one in client.pool._open))
        await until(lambda: lines)
        if ending == "reset":
            go_on.set()
        else:
            forward(TIMEOUTS.silence + 1)
        await failing
        go_on.set()


# Connections that end between calls


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_connection_closed_while_idle_is_not_noticed(
    tls: Trust | None, is_reset: bool
) -> None:
    close = asyncio.Event()

    async def once(line: Line) -> None:
        await line.request()
        await line.say(OK)
        await close.wait()
        close.clear()
        if is_reset:
            line.reset()

    async with facing(once, tls) as (lines, client):
        for number in range(1, 6):
            assert await invoke(client) == InvokeResponse(None, None)
            assert len(lines) == number
            close.set()
            await until(lambda: open_and_idle(client.pool) == (0, 0))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}",
        OK + OK,
        OK + b"HTTP/1.1 400 Bad Request\r\n\r\n",
        OK + b"\0",
    ],
    ids=["close", "1.0", "by the end", "too long", "two answers", "another answer", "garbage"],
)
@pytest.mark.parametrize("call", [invoke, put, receive])
async def test_the_last_answer_of_a_connection(
    tls: Trust | None, call: Call, answer: bytes
) -> None:
    async with facing(says(answer), tls) as (lines, client):
        for number in range(1, 4):
            await call(client)
            assert len(lines) == number


async def test_a_response_without_a_request_meets_no_later_call(tls: Trust | None) -> None:
    async def twice(line: Line) -> None:
        for number in range(1000):
            await line.request()
            mine = f"HTTP/1.1 202 A\r\nX-Amzn-SageMaker-OutputLocation: {line.number}-{number}"
            await line.say(f"{mine}\r\nContent-Length: 0\r\n\r\n".encode())
            await line.say(f"{mine}-again\r\nContent-Length: 0\r\n\r\n".encode())

    answered = 0
    async with facing(twice, tls) as (_, client):
        for _ in range(20):
            try:
                accepted = await client.runtime.invoke(invocation())
            except (Transient, OutcomeUnknown):
                continue  # it was sent on a connection that was just being closed
            assert accepted.output_location is not None
            assert not accepted.output_location.endswith("again")
            answered += 1
    assert answered >= 1


async def test_a_connection_that_answers_another_request_is_left(tls: Trust | None) -> None:
    async def confuses(line: Line) -> None:
        while True:
            asked = await line.request()
            mine = asked.headers["x-amzn-sagemaker-inference-id"]
            said = f'{{"InferenceId":"{mine if line.number else "run-of-another"}"}}'
            await line.say(f"HTTP/1.1 202 A\r\nContent-Length: {len(said)}\r\n\r\n{said}".encode())

    async with facing(confuses, tls, max_connections=1) as (lines, client):
        with pytest.raises(OutcomeUnknown, match="is to another request"):
            await client.runtime.invoke(invocation())
        for _ in range(3):
            await client.runtime.invoke(invocation())
        assert [len(line.asked) for line in lines] == [1, 3]


@pytest.mark.parametrize("before", [1, 5])
@pytest.mark.parametrize("status", [100, 102, 103])
async def test_what_comes_before_an_answer(tls: Trust | None, status: int, before: int) -> None:
    early = f"HTTP/1.1 {status} Early\r\nLink: x\r\n\r\n".encode()

    async def hesitates(line: Line) -> None:
        while True:
            await line.request()
            await line.say(*[early] * before, OK)

    async with facing(hesitates, tls) as (lines, client):
        for call in (invoke, put, receive, get):
            await call(client)
        assert len(lines) == 1


# Answers that come early


@pytest.mark.parametrize("ending", ["stays", "finishes", "says close"])
async def test_a_response_while_the_body_is_still_sent(tls: Trust | None, ending: str) -> None:
    async def refuses(line: Line) -> None:
        if line.number:
            return await answers_ok(line)
        await line.head()
        close = b"Connection: close\r\n" if ending == "says close" else b""
        await line.say(b"HTTP/1.1 500 X\r\n" + close + b"Content-Length: 4\r\n\r\noops")
        if ending == "finishes" and tls is None:
            line.writer.write_eof()
        await leave.wait()
        return None

    leave = asyncio.Event()
    async with facing(refuses, tls) as (lines, client):
        await fails(client, put_large, ServiceFailed, "500")
        await until(lambda: open_and_idle(client.pool) == (0, 0))
        await put_large(client)
        assert [len(line.asked) for line in lines] == [0, 1]
        leave.set()


async def test_a_success_while_the_body_is_still_sent(tls: Trust | None) -> None:
    async def knows_it_already(line: Line) -> None:
        await line.head()
        await line.say(OK)
        await line.gone()

    async with facing(knows_it_already, tls) as (lines, client):
        for number in range(1, 4):
            await put_large(client)
            assert len(lines) == number


async def test_an_early_answer_and_a_reset_behind_it(tls: Trust | None) -> None:
    async def slams(line: Line) -> None:
        await line.head()
        await line.say(OK)

    answered = broken = 0
    async with facing(slams, tls) as (_, client):
        for _ in range(10):
            try:
                await put_large(client)
                answered += 1
            except Transient:
                broken += 1  # the kernel may report the reset before it hands the answer out
            assert permits(client.pool) == 4
    assert answered + broken == 10
    assert answered >= 1


# Large answers and slow servers


def object_of(size: int) -> Script:
    piece = bytes(range(256)) * 256

    async def script(line: Line) -> None:
        while True:
            await line.request()
            await line.say(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            began = line.sent
            while line.sent - began < size:
                await line.say(piece[: size - line.sent + began])

    return script


async def test_an_object_of_100_mb_is_read_in_full(tls: Trust | None) -> None:
    async with facing(object_of(MUCH), tls) as (lines, client):
        async with client.objects.open(KEY) as incoming:
            assert incoming.size == MUCH
            body = await incoming.read()
        assert len(body) == MUCH
        view, piece = memoryview(body), bytes(range(256)) * 256
        for start in range(0, MUCH, len(piece)):
            assert view[start : start + len(piece)] == piece[: MUCH - start]
        assert open_and_idle(client.pool) == (1, 1)
        assert len(lines) == 1


async def test_an_object_that_is_left_holds_the_server_back(tls: Trust | None) -> None:
    async with facing(object_of(MUCH), tls) as (lines, client):
        async with client.objects.open(KEY) as incoming:
            assert incoming.size == MUCH
            for _ in range(3):  # others go on meanwhile
                with contextlib.suppress(Transient):
                    await put(client)
            held = lines[0].sent
        await lines[0].over()
        assert held <= lines[0].sent < SOME
        assert permits(client.pool) == 4


@pytest.mark.parametrize("call", [invoke, put, page, receive])
async def test_100_mb_in_place_of_an_acknowledgement_are_refused(
    tls: Trust | None, call: Call
) -> None:
    async with facing(object_of(MUCH), tls) as (lines, client):
        await fails(client, call, lost(call))
        await lines[0].over()
        assert lines[0].sent < SOME


async def test_a_server_that_reads_slowly_bounds_what_is_in_memory(tls: Trust | None) -> None:
    async def slow(line: Line) -> None:
        await line.head()
        for _ in range(20):
            await line.reader.readexactly(len(LARGE) // 20)
            await asyncio.sleep(0)
        await line.reader.readexactly(len(LARGE) % 20)
        await line.say(OK)
        await line.gone()

    async with facing(slow, tls, receive_buffer=4096) as (_, client):
        putting = asyncio.create_task(put_large(client))
        most = 0
        while not putting.done():
            for connection in client.pool._open:
                if connection._transport is not None:
                    most = max(most, connection._transport.get_write_buffer_size())
            await asyncio.sleep(0)
        await putting
        assert 0 < most <= 4 * PIECE_BYTES
        assert open_and_idle(client.pool) == (1, 1)


async def silent(line: Line) -> None:
    await line.request()
    await line.gone()


@with_a_clock
@pytest.mark.parametrize("call", CALLS)
async def test_silence_ends(call: Call) -> None:
    async with facing(silent) as (lines, client):
        failing = asyncio.create_task(fails(client, call, lost(call)))
        await until(lambda: lines and lines[0].asked)
        forward(TIMEOUTS.silence - 1)
        await until_quiet()
        assert not failing.done()
        forward(1.1)
        assert "nothing came for 6" in str(await failing)
        await lines[0].over()


@with_a_clock
@pytest.mark.parametrize("call", [invoke, get])
async def test_a_drip_ends(call: Call) -> None:
    drip = asyncio.Event()

    async def drips(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await line.say(b".")
            await drip.wait()
            drip.clear()

    async with facing(drips) as (_, client):
        failing = asyncio.create_task(fails(client, call, lost(call)))
        for count in range(1, 12):
            await until(partial(_has_read, client, count))
            assert not failing.done()
            forward(TIMEOUTS.silence - 5)
            drip.set()
        assert "not whole after 60" in str(await failing)


def _has_read(client: Client, size: int) -> bool:
    return sum(len(connection._reader.content) for connection in client.pool._open) == size


# Cancellation


@pytest.mark.parametrize("at", ["permit", "connecting", "sending", "head", "body", "rest"])
async def test_a_call_may_be_cancelled_wherever_it_waits(
    tls: Trust | None, trust: Trust, at: str
) -> None:
    let_go = asyncio.Event()

    async def half(line: Line) -> None:
        if line.number:
            return await answers_ok(line)
        await line.head()
        if at in ("body", "rest"):
            size = 1000 if at == "body" else 1_000_000
            await line.say(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\nhalf".encode())
        if at == "sending":
            await let_go.wait()
        await line.gone()
        return None

    async def handshake_never_ends(line: Line) -> None:
        await line.gone()

    script = handshake_never_ends if at == "connecting" else half
    server = tls if at != "connecting" else None
    client_tls = tls.client if tls else (trust.client if at == "connecting" else None)
    async with (
        peer(script, tls=server.server if server else None) as there,
        client_of(there.port, max_connections=1, tls=client_tls) as client,
    ):
        call = {"sending": put_large, "rest": get, "body": get}.get(at, invoke)
        calling = [asyncio.ensure_future(call(client))]
        if at == "sending":
            await until(lambda: any(one.is_write_paused for one in client.pool._open))
        elif at in ("body", "rest"):
            await until(partial(_has_read, client, 4))
        else:
            await until(lambda: there.lines)
        await until_quiet()
        if at == "permit":
            calling.append(asyncio.ensure_future(invoke(client)))
            await until_quiet()
        assert permits(client.pool) == 0
        last = calling.pop()
        last.cancel()
        with pytest.raises(asyncio.CancelledError):
            await last
        if at == "permit":
            assert permits(client.pool) == 0
            calling[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling[0]
        assert permits(client.pool) == 1
        if at != "connecting":
            assert await invoke(client) == InvokeResponse(None, None)
            assert len(there.lines) == 2
            let_go.set()
            await there.lines[0].over()


def stored(target: str) -> bytes:
    """Return what lies under a path: larger than what is read along with a head."""
    return (target.encode() + b".") * (200_000 // (len(target) + 1))


def echoes(rng: random.Random) -> Script:
    """Answer each request with what only its own answer has, in pieces and in its time."""

    async def script(line: Line) -> None:
        while True:
            asked = await line.request()
            close = rng.random() < 0.05
            headers = b"Connection: close\r\n" if close else b""
            body = b"{}"
            if asked.method == "GET":
                body = stored(asked.target)
            elif asked.method == "PUT":
                assert asked.body.startswith(asked.target.encode() + b".")
            else:
                number = asked.headers["x-amzn-sagemaker-inference-id"]
                headers += f"X-Amzn-SageMaker-OutputLocation: {number}\r\n".encode()
            answer = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (headers, len(body))
            if rng.random() < 0.1:
                answer = b"HTTP/1.1 100 Continue\r\n\r\n" + answer
            answer += body
            for _ in range(rng.randrange(4)):
                at = rng.randrange(len(answer))
                await line.say(answer[:at])
                answer = answer[at:]
                for _ in range(rng.randrange(8)):
                    await asyncio.sleep(0)
            await line.say(answer)
            if close:
                return

    return script


async def one_call(client: Client, number: int, kind: float) -> None:
    """Call, and hold the answer against the request."""
    key = Location("in", f"{number}")
    target = f"/in/{number}"
    if kind < 0.1:
        await client.objects.put(key, stored(target) * 3, "text/plain")
    elif kind < 0.2:
        async with client.objects.open(key) as incoming:
            if kind < 0.15:
                assert await incoming.read() == stored(target)
    else:
        body = bytes(100_000) if kind < 0.3 else MARK
        accepted = await client.runtime.invoke(invocation(number, body))
        assert accepted.output_location == f"run-{number:08}"


@pytest.mark.parametrize(("encrypted", "cancellations"), [(False, 1000), (True, 250)])
async def test_cancellations_at_random_leave_nothing_and_mix_nothing_up(
    trust: Trust, encrypted: bool, cancellations: int
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    logging.getLogger(__name__).warning("seed %d", seed)
    rng = random.Random(seed)
    tls = trust if encrypted else None
    async with facing(answers_ok, tls) as (_, client):
        await invoke(client)  # what the loop itself opens is open by now
    await until_quiet()
    files, tasks = psutil.Process().num_fds(), asyncio.all_tasks()
    ended = {"cancelled": 0, "answered": 0}
    numbers = iter(range(10**8))
    async with facing(echoes(rng), tls) as (lines, client):
        theirs = len(asyncio.all_tasks() - tasks)

        async def worker() -> None:
            while ended["cancelled"] < cancellations:
                call = asyncio.create_task(one_call(client, next(numbers), rng.random()))
                if rng.random() < 0.2:
                    await asyncio.wait([call])
                for _ in range(rng.randrange(rng.choice((10, 80, 400 if encrypted else 20)))):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait([call])
                if call.cancelled():
                    ended["cancelled"] += 1
                else:
                    call.result()
                    ended["answered"] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(worker())
        assert ended["cancelled"] >= cancellations
        assert ended["answered"] >= cancellations / 10

        assert permits(client.pool) == 4
        taken = await asyncio.gather(*(client.pool.acquire() for _ in range(4)))
        assert client.pool.acquire_idle() is None
        for connection in taken:
            client.pool.release(connection)
        await asyncio.gather(*(one_call(client, next(numbers), 0.9) for _ in range(50)))
        await until(lambda: len([line for line in lines if not line.ended.is_set()]) <= 4)
        counts = client.pool.statistics()
        assert counts.open == counts.idle <= 4
        assert len(asyncio.all_tasks() - tasks) - theirs <= 4, "the server's, one a connection"
    assert asyncio.all_tasks() == tasks
    await until_quiet()
    assert psutil.Process().num_fds() == files


# The same through the transport of a run


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "BOTO_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@contextlib.asynccontextmanager
async def transport_to(
    script: Script, tls: Trust | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[list[Line], Transport]]:
    if tls is not None:
        (tmp_path / "authorities.pem").write_bytes(tls.bundle)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "authorities.pem"))
    async with peer(script, tls=tls.server if tls else None) as there:
        url = f"{'https' if tls else 'http'}://{HOST}:{there.port}"
        access = Access(
            endpoint_url=url,
            region="eu-west-1",
            access_key_id="AKIDEXAMPLE",
            secret_access_key=SECRET,
        )
        async with open_transport(AwsSettings(), connections=4, access=access) as transport:
            assert transport.name == "direct"
            yield there.lines, transport
        await there.over()


@pytest.mark.usefixtures("no_account")
async def test_a_run_sees_the_same_errors(
    tls: Trust | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [resets, FAULTS["half a body"], FAULTS["garbage"], FAULTS["a body without end"]]

    async def one_after_the_other(line: Line) -> None:
        if line.number < 2 * len(faults):
            await faults[line.number // 2](line)
        else:
            await answers_ok(line)

    async with transport_to(one_after_the_other, tls, tmp_path, monkeypatch) as (lines, transport):
        for _ in faults:
            with pytest.raises(OutcomeUnknown) as unknown:
                await transport.runtime.invoke(invocation())
            with pytest.raises(Transient) as repeatable:
                await transport.objects.put(KEY, MARK, "text/plain")
            for raised in (unknown.value, repeatable.value):
                assert raised.code == "NoAnswer"
                assert_shows_no_secret(raised)
        assert await transport.runtime.invoke(invocation()) == InvokeResponse(None, None)
        await transport.objects.put(KEY, LARGE, "text/plain")
        assert await transport.queue("http://127.0.0.1/1/q").receive() == list[SqsMessage]()
        assert len(lines) == 2 * len(faults) + 1


@pytest.mark.usefixtures("no_account")
async def test_a_run_that_ends_amid_a_call_leaves_nothing(
    tls: Trust | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with transport_to(silent, tls, tmp_path, monkeypatch) as (lines, transport):
            calls = [
                asyncio.ensure_future(transport.runtime.invoke(invocation(number)))
                for number in range(6)
            ]
            await until(lambda: len([line for line in lines if line.asked]) == 4)
            for call in calls:
                call.cancel()
            assert all(
                isinstance(ended, asyncio.CancelledError)
                for ended in await asyncio.gather(*calls, return_exceptions=True)
            )

    await run()
    await until_quiet()
    files, tasks = psutil.Process().num_fds(), asyncio.all_tasks()
    await run()
    await until_quiet()
    assert asyncio.all_tasks() == tasks
    assert psutil.Process().num_fds() == files


def test_secrets_would_be_seen() -> None:
    for secret in (SECRET, TOKEN, MARK.decode(), "Signature=1"):
        try:
            try:
                raise ValueError(secret)
            except ValueError as error:
                raise Transient("no answer", code="NoAnswer") from error
        except Transient as error:
            with pytest.raises(AssertionError):
                assert_shows_no_secret(error)
