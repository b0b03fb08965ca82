"""Connection: exchanges one after the other, and every way that one can break."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from unittest.mock import Mock

import pytest

from dispatcher.aws.http.connection import (
    EARLY_BYTES,
    PIECE_BYTES,
    Connection,
    ConnectionPhase,
    ExchangeError,
    Timeouts,
)
from dispatcher.aws.http.response import ResponseReader
from tests.aws.http.peer import (
    HOST,
    OK,
    TIMEOUTS,
    Line,
    Peer,
    Script,
    Trust,
    forward,
    peer,
    until,
    until_quiet,
)

MOST = 1_000_000
LARGE = bytes(8_000_000)
with_a_clock = pytest.mark.asyncio(loop_factories=["asyncio"])


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, trust: Trust) -> Trust | None:
    return trust if request.param == "tls" else None


@contextlib.asynccontextmanager
async def talk(
    script: Script,
    *,
    tls: Trust | None = None,
    timeouts: Timeouts = TIMEOUTS,
    receive_buffer: int = 0,
) -> AsyncIterator[tuple[Peer, Connection]]:
    """Open a connection to a server; at the end of the block it is gone."""
    loop = asyncio.get_running_loop()
    made: list[Connection] = []
    lost: list[Connection] = []
    server_tls = tls.server if tls else None
    async with peer(script, tls=server_tls, receive_buffer=receive_buffer) as there:
        _, connection = await loop.create_connection(
            lambda: Connection(loop, timeouts, on_made=made.append, on_lost=lost.append),
            HOST,
            there.port,
            ssl=tls.client if tls else None,
        )
        assert made == [connection]
        assert lost == []
        yield there, connection
        connection.abort()
        await until(lambda: lost == [connection])
        assert connection._timer is None or connection._timer.cancelled()


def head(length: int = 0, method: str = "PUT") -> bytes:
    return f"{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


async def exchange(
    connection: Connection, body: bytes = b"", *, wants_body: bool = True
) -> ResponseReader:
    return await connection.exchange(
        head(len(body)), body, is_head=False, max_body_bytes=MOST, wants_body=wants_body
    )


async def fails(connection: Connection, body: bytes = b"", *, is_sent: bool) -> str:
    """Return why an exchange failed."""
    with pytest.raises(ExchangeError) as raised:
        await exchange(connection, body)
    assert raised.value.is_sent is is_sent
    assert not connection.is_usable
    return str(raised.value)


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, PIECE_BYTES, PIECE_BYTES + 1, 3_000_000])
async def test_bodies_arrive_as_they_are(tls: Trust | None, size: int) -> None:
    async def respond(line: Line) -> None:
        while True:
            await line.request()
            await line.say(OK)

    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    async with talk(respond, tls=tls) as (there, connection):
        for _ in range(2):
            assert (await exchange(connection, body)).response().body == b"{}"
            assert connection.is_usable
        assert [asked.body for asked in there.asked] == [body, body]


async def test_a_head_has_no_body(tls: Trust | None) -> None:
    async def respond(line: Line) -> None:
        while True:
            await line.request()
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")

    async with talk(respond, tls=tls) as (_, connection):
        for _ in range(2):
            reader = await connection.exchange(head(), b"", is_head=True, max_body_bytes=10)
            assert reader.length == 77
            assert reader.content == b""
            assert connection.is_usable


def phase(connection: Connection) -> ConnectionPhase:
    return connection.phase  # by a call, so that mypy does not take it for constant


async def test_the_phase_follows_the_exchange(tls: Trust | None) -> None:
    async def respond(line: Line) -> None:
        await line.head()
        await go_on.wait()
        await line.reader.readexactly(len(LARGE))
        await line.say(OK)
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", bytes(1_000_000))
        await line.gone()

    go_on = asyncio.Event()
    async with talk(respond, tls=tls) as (there, connection):
        where = f"<Connection to {HOST}:{there.port}"
        assert repr(connection) == f"{where}: idle, 0 exchanges>"
        exchanging = asyncio.create_task(exchange(connection, LARGE))
        await until(lambda: connection.is_write_paused)
        assert phase(connection) is ConnectionPhase.SENDING
        go_on.set()
        await until(lambda: phase(connection) is ConnectionPhase.WAITING)
        await exchanging
        assert phase(connection) is ConnectionPhase.IDLE
        await exchange(connection, wants_body=False)
        assert repr(connection) == f"{where}: deferred, 2 exchanges>"
        await connection.finish()
        assert phase(connection) is ConnectionPhase.IDLE
        connection.abort()
        assert phase(connection) is ConnectionPhase.CLOSED
        await there.over()
        await until(lambda: repr(connection) == "<Connection: closed, 2 exchanges>")


# What was sent when it broke


async def test_a_connection_that_is_gone_has_sent_nothing(tls: Trust | None) -> None:
    async def resets(line: Line) -> None:
        line.reset()

    async with talk(resets, tls=tls) as (_, connection):
        await until(lambda: not connection.is_usable)
        assert "closed" in await fails(connection, is_sent=False)


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_server_that_leaves_with_the_request(tls: Trust | None, is_reset: bool) -> None:
    async def leaves(line: Line) -> None:
        await line.request()
        if is_reset:
            line.reset()

    async with talk(leaves, tls=tls) as (_, connection):
        await fails(connection, b"x" * 1000, is_sent=True)


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_server_that_leaves_amid_a_large_request(tls: Trust | None, is_reset: bool) -> None:
    async def leaves(line: Line) -> None:
        await line.head()
        if is_reset:
            line.reset()

    async with talk(leaves, tls=tls) as (_, connection):
        await fails(connection, LARGE, is_sent=False)


async def test_a_server_that_only_closes_its_side_amid_a_large_request() -> None:
    """It will never respond, so that there is nothing to wait for."""

    async def closes(line: Line) -> None:
        await line.head()
        line.writer.write_eof()
        await line.stay()

    async with talk(closes) as (_, connection):
        assert "closed" in await fails(connection, LARGE, is_sent=False)


async def test_what_lies_in_the_transport_was_not_sent() -> None:
    """A body of one write, of which the server took only a part."""

    async def takes_little(line: Line) -> None:
        await line.head()
        line.writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a socket's
        await go_on.wait()
        line.reset()

    go_on = asyncio.Event()
    async with talk(takes_little, receive_buffer=2048) as (_, connection):
        exchanging = asyncio.create_task(exchange(connection, bytes(PIECE_BYTES)))
        await until(lambda: connection.phase is ConnectionPhase.WAITING)
        fill(connection)
        go_on.set()
        with pytest.raises(ExchangeError) as raised:
            await exchanging
        assert not raised.value.is_sent


# While the body is still being sent


@pytest.mark.parametrize("ending", ["stays", "finishes"])
async def test_a_response_may_come_before_the_body_is_sent(tls: Trust | None, ending: str) -> None:
    async def refuses(line: Line) -> None:
        await line.head()
        await line.say(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nslow")
        if ending == "finishes" and tls is None:
            line.writer.write_eof()
        await done.wait()
        await line.gone()

    done = asyncio.Event()
    async with talk(refuses, tls=tls) as (there, connection):
        reader = await exchange(connection, LARGE)
        assert (reader.status, reader.content) == (503, b"slow")
        assert not connection.is_usable
        done.set()
        await there.over()


async def test_what_was_not_wholly_sent_is_the_last_of_its_connection() -> None:
    """The response and the room for more of the body may come in one turn of the loop."""

    async def refuses(line: Line) -> None:
        await line.head()
        await line.say(OK)
        await line.stay()

    async with talk(refuses) as (_, connection):
        wake = connection._wake_caller

        def and_resumes() -> None:
            wake()
            connection.resume_writing()

        connection._wake_caller = and_resumes  # type: ignore[method-assign] # as said
        assert (await exchange(connection, LARGE)).content == b"{}"
        assert not connection.is_usable


async def test_what_the_transport_still_holds_is_the_last_of_its_connection() -> None:
    async def refuses(line: Line) -> None:
        await line.head()
        await go_on.wait()
        await line.say(OK)
        await line.stay()

    go_on = asyncio.Event()
    async with talk(refuses, receive_buffer=2048) as (_, connection):
        exchanging = asyncio.create_task(exchange(connection, bytes(PIECE_BYTES)))
        await until(lambda: connection.phase is ConnectionPhase.WAITING)
        fill(connection)
        go_on.set()
        assert (await exchanging).content == b"{}"
        assert not connection.is_usable


def fill(connection: Connection) -> None:
    """Write until the transport holds some of it back, as a slow network would do it at once."""
    assert connection._transport is not None
    while not connection.is_write_paused:
        connection._transport.write(bytes(PIECE_BYTES))


async def test_a_response_with_a_reset_behind_it_never_hangs(tls: Trust | None) -> None:
    async def slams(line: Line) -> None:
        await line.head()
        await line.say(OK)  # and closes, with much of the body unread: that is a reset

    async with talk(slams, tls=tls) as (_, connection):
        with contextlib.suppress(ExchangeError):
            assert (await exchange(connection, LARGE)).content == b"{}"
        assert not connection.is_usable


async def test_a_slow_server_bounds_what_is_in_memory(tls: Trust | None) -> None:
    async def slow(line: Line) -> None:
        await line.head()
        await go_on.wait()
        await line.reader.readexactly(len(LARGE))
        await line.say(OK)
        await line.gone()

    go_on = asyncio.Event()
    async with talk(slow, tls=tls) as (_, connection):
        transport = connection._transport
        assert transport is not None
        seen = 0
        exchanging = asyncio.create_task(exchange(connection, LARGE))
        await until(lambda: connection.is_write_paused)
        for turn in range(3000):
            seen = max(seen, transport.get_write_buffer_size())
            if exchanging.done():
                break
            if turn == 100:
                assert not exchanging.done()
                go_on.set()
            await asyncio.sleep(0)
        assert (await exchanging).content == b"{}"
        assert PIECE_BYTES / 4 < seen <= 4 * PIECE_BYTES
        assert connection.is_usable


# Responses


@pytest.mark.parametrize(
    "before",
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n"],
)
async def test_what_comes_before_the_response_is_passed_over(
    tls: Trust | None, before: bytes
) -> None:
    async def hesitates(line: Line) -> None:
        while True:
            await line.request()
            await line.say(*(before[i : i + 1] for i in range(len(before))), OK)

    async with talk(hesitates, tls=tls) as (_, connection):
        for _ in range(2):
            assert (await exchange(connection)).status == 200
            assert connection.is_usable


@pytest.mark.parametrize("is_head", [False, True])
@pytest.mark.parametrize("in_one", [False, True])
async def test_more_than_one_response_is_the_end(is_head: bool, in_one: bool) -> None:
    async def says_too_much(line: Line) -> None:
        await line.request()
        final = OK.removesuffix(b"{}") if is_head else OK
        await line.say(*([final + OK] if in_one else [final, OK]))
        await line.gone()

    async with talk(says_too_much) as (there, connection):
        reader = await connection.exchange(head(), b"", is_head=is_head, max_body_bytes=MOST)
        assert reader.content == (b"" if is_head else b"{}")
        await until(lambda: not connection.is_usable)
        await there.over()


async def test_unrequested_bytes_end_the_connection(tls: Trust | None) -> None:
    speak = asyncio.Event()

    async def speaks(line: Line) -> None:
        await line.request()
        await line.say(OK)
        await speak.wait()
        await line.say(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await line.gone()

    async with talk(speaks, tls=tls) as (there, connection):
        await exchange(connection)
        assert connection.is_usable
        speak.set()
        await until(lambda: not connection.is_usable)
        await there.over()


# The body on demand


def promises(size: int) -> Script:
    async def script(line: Line) -> None:
        while True:
            await line.request()
            await line.say(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            await line.say_again_and_again(bytes(10_000), max_bytes=line.sent + size)

    return script


async def test_a_long_body_waits_until_it_is_asked_for(tls: Trust | None) -> None:
    size = 50_000_000
    async with talk(promises(size), tls=tls) as (there, connection):
        reader = await exchange(connection, wants_body=False)
        assert reader.length == size
        assert (reader.is_complete, connection.is_usable) == (False, False)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(reader.content) < 10 * EARLY_BYTES
        assert there.lines[0].sent < size / 2
        assert await connection.finish() is reader
        assert reader.content == bytes(size)
        assert connection.is_usable
        assert await connection.finish() is reader


async def test_a_short_body_comes_along(tls: Trust | None) -> None:
    async with talk(promises(20_000), tls=tls) as (_, connection):
        for _ in range(2):
            reader = await exchange(connection, wants_body=False)
            assert reader.content == (await connection.finish()).content == bytes(20_000)
            assert connection.is_usable


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_body_that_breaks_off_before_it_is_asked_for(is_reset: bool) -> None:
    async def breaks_off(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx")
        if is_reset:
            line.reset()

    async with talk(breaks_off) as (there, connection):
        await exchange(connection, wants_body=False)
        await there.over()
        await until_quiet()
        with pytest.raises(ExchangeError):
            await connection.finish()
        assert not connection.is_usable


async def test_a_body_that_is_not_wanted_is_left(tls: Trust | None) -> None:
    async with talk(promises(50_000_000), tls=tls) as (there, connection):
        await exchange(connection, wants_body=False)
        connection.abort()
        await there.over()
        assert there.lines[0].sent < 20_000_000
        with pytest.raises(ExchangeError, match="closed"):
            await connection.finish()


# Time


async def silent(line: Line) -> None:
    await line.request()
    await line.gone()


@with_a_clock
async def test_silence_is_waited_for_so_long_and_no_longer(tls: Trust | None) -> None:
    async with talk(silent, tls=tls) as (there, connection):
        exchanging = asyncio.create_task(exchange(connection))
        await until(lambda: there.asked)
        forward(TIMEOUTS.silence - 1)
        await until_quiet()
        assert not exchanging.done()
        forward(1.1)
        with pytest.raises(ExchangeError, match="nothing came for 6") as raised:
            await exchanging
        assert raised.value.is_sent
        assert not connection.is_usable


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_silence_on_the_clock_of_uvloop(tls: Trust | None) -> None:
    timeouts = Timeouts(silence=0.03, total=10, idle=0.01, age=10)
    async with talk(silent, tls=tls, timeouts=timeouts) as (_, connection):
        assert "nothing came" in await fails(connection, is_sent=True)


def has_read(connection: Connection, size: int) -> bool:
    return len(connection._reader.content) == size


@with_a_clock
async def test_a_drip_is_no_silence_but_has_an_end(tls: Trust | None) -> None:
    async def drips(line: Line) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await line.say(b".")
            await go_on.wait()
            go_on.clear()

    go_on = asyncio.Event()
    async with talk(drips, tls=tls) as (_, connection):
        exchanging = asyncio.create_task(exchange(connection))
        count = int(TIMEOUTS.total / 50)
        for turn in range(1, count):
            await until(partial(has_read, connection, turn))
            forward(50)
            await until_quiet()
            assert not exchanging.done()
            go_on.set()
        await until(partial(has_read, connection, count))
        forward(51)
        with pytest.raises(ExchangeError, match=r"not whole after 60.* seconds") as raised:
            await exchanging
        assert raised.value.is_sent


@with_a_clock
async def test_a_server_that_takes_no_more_of_the_body_is_silent() -> None:
    async def stops_reading(line: Line) -> None:
        await line.head()
        await line.stay()

    async with talk(stops_reading) as (_, connection):
        exchanging = asyncio.create_task(exchange(connection, LARGE))
        await until(lambda: connection.is_write_paused)
        await until_quiet()
        forward(TIMEOUTS.silence + 1)
        with pytest.raises(ExchangeError) as raised:
            await exchanging
        assert not raised.value.is_sent


@with_a_clock
async def test_a_body_that_is_never_read_is_not_kept_forever() -> None:
    async with talk(promises(50_000_000)) as (there, connection):
        await exchange(connection, wants_body=False)
        forward(TIMEOUTS.silence + 1)
        await until_quiet()
        assert not there.lines[0].ended.is_set(), "the caller may be busy with another"
        forward(TIMEOUTS.total)
        await there.over()
        with pytest.raises(ExchangeError):
            await connection.finish()


@with_a_clock
async def test_a_body_that_was_left_waiting_may_still_be_read() -> None:
    async with talk(promises(1_000_000)) as (_, connection):
        await exchange(connection, wants_body=False)
        forward(TIMEOUTS.silence * 3)
        await until_quiet()
        assert len((await connection.finish()).content) == 1_000_000
        assert connection.is_usable


@with_a_clock
async def test_a_connection_has_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def respond(line: Line) -> None:
        while True:
            await line.request()
            await line.say(OK)

    async with talk(respond) as (_, connection):
        loop = asyncio.get_running_loop()
        set_up: list[float] = []
        watch = loop.call_at

        def call_at(when: float, function: Callable[[], object]) -> asyncio.TimerHandle:
            set_up.append(when)
            return watch(when, function)

        monkeypatch.setattr(loop, "call_at", call_at)
        for _ in range(20):
            await exchange(connection)
        assert set_up == []


# Cancellation


@pytest.mark.parametrize("at", ["sending", "head", "body", "rest"])
async def test_cancelling_an_exchange_closes_its_connection(tls: Trust | None, at: str) -> None:
    async def half(line: Line) -> None:
        await line.head()
        if at == "body":
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        elif at == "rest":
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf")
        await there_it_is.wait()
        await line.gone()

    there_it_is = asyncio.Event()
    async with talk(half, tls=tls) as (there, connection):
        if at == "rest":
            await exchange(connection, wants_body=False)
            exchanging = asyncio.create_task(connection.finish())
        else:
            body = LARGE if at == "sending" else b""
            exchanging = asyncio.create_task(exchange(connection, body))
        if at == "sending":
            await until(lambda: connection.is_write_paused)
        elif at == "body":
            await until(lambda: connection._reader.content)
        await until_quiet()
        exchanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchanging
        assert not connection.is_usable
        there_it_is.set()
        await there.over()
        await fails(connection, is_sent=False)


async def test_a_failure_and_a_cancellation_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with talk(silent) as (there, connection):
        exchanging = asyncio.create_task(exchange(connection))
        await until(lambda: there.asked)
        connection._fail("it broke")
        exchanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchanging
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_what_was_given_up_never_begins() -> None:
    calls: list[str] = []
    connection = Connection(
        asyncio.get_running_loop(),
        TIMEOUTS,
        on_made=lambda _: calls.append("made"),
        on_lost=lambda _: calls.append("lost"),
    )
    assert connection.phase is ConnectionPhase.OPENING
    assert not connection.is_usable
    connection.give_up()
    transport = Mock(asyncio.Transport)
    connection.connection_made(transport)
    transport.abort.assert_called_once()
    connection.connection_lost(None)
    connection.give_up()
    assert calls == []
    assert not connection.is_usable


async def test_the_end_is_reported_once() -> None:
    async with talk(silent) as (there, connection):
        await until(lambda: there.lines)
        connection.give_up()
        await there.over()
        await until_quiet()
