"""Dialer: every address has its turn, and a dead one is replaced by the next."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from dispatcher.aws.http.connection import Connection
from dispatcher.aws.http.dialer import Dialer, DialError, Origin, _interleave
from dispatcher.aws.http.pool import Pool
from tests.aws.http.peer import (
    HOST,
    TIMEOUTS,
    Line,
    Peer,
    Trust,
    assert_shows_no_secret,
    closed_port,
    forward,
    make_trust,
    peer,
    until,
)

NAME = "runtime.sagemaker.test"
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])
"""uvloop asks no ``socket.getaddrinfo`` that a test could replace."""

both_loops = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])


class Names:
    """A scripted resolver."""

    def __init__(self) -> None:
        self.addresses: Sequence[str] = ADDRESSES
        self.asked = 0
        self.error: OSError | None = None

    def getaddrinfo(
        self, host: str, port: int, *arguments: int, **options: int
    ) -> list[tuple[object, ...]]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        if host != NAME:  # an address, which is looked up too
            return [(*kind, (host, port))]
        self.asked += 1
        if self.error is not None:
            raise self.error
        return [(*kind, (address, port)) for address in self.addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    return made


@contextlib.asynccontextmanager
async def peers(*hosts: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[list[Peer]]:
    """Serve on the same port of several addresses."""
    async with contextlib.AsyncExitStack() as stack:
        made: list[Peer] = []
        port = 0
        for host in hosts:
            made.append(
                await stack.enter_async_context(peer(silent, host=host, port=port, tls=tls))
            )
            port = made[0].port
        yield made


async def silent(line: Line) -> None:
    await line.gone()


class Dials:
    """A dialer, and what it made."""

    def __init__(
        self,
        port: int,
        *,
        timeout: float = 5.0,
        host: str = NAME,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.dialer = Dialer(Origin(host, port, tls), timeout)
        self.open: set[Connection] = set()
        self.lost = 0

    def make(self) -> Connection:
        loop = asyncio.get_running_loop()
        return Connection(loop, TIMEOUTS, on_made=self.open.add, on_lost=self._lost)

    def _lost(self, connection: Connection) -> None:
        self.open.discard(connection)
        self.lost += 1

    async def dial(self) -> str:
        """Return the address that was connected to."""
        connection = await self.dialer.dial(self.make)
        assert connection._transport is not None
        address: str = connection._transport.get_extra_info("peername")[0]
        return address

    async def close(self) -> None:
        for connection in self.open:
            connection.abort()
        await until(lambda: not self.open)


async def test_every_address_has_its_turn(names: Names) -> None:
    async with peers(*ADDRESSES) as there:
        dials = Dials(there[0].port)
        assert [await dials.dial() for _ in range(6)] == [*ADDRESSES, *ADDRESSES]
        assert names.asked == 1
        await dials.close()


async def test_an_address_that_is_said_twice_has_one_turn(names: Names) -> None:
    names.addresses = ("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.1")
    async with peers(*ADDRESSES[:2]) as there:
        dials = Dials(there[0].port)
        assert [await dials.dial() for _ in range(4)] == [*ADDRESSES[:2], *ADDRESSES[:2]]
        await dials.close()


async def test_names_are_looked_up_again_after_a_while(names: Names) -> None:
    async with peers(*ADDRESSES) as there:
        dials = Dials(there[0].port)
        await dials.dial()
        names.addresses = ("127.0.0.3",)
        forward(29)
        await dials.dial()
        assert names.asked == 1
        forward(2)
        assert await dials.dial() == "127.0.0.3"
        assert names.asked == 2
        await dials.close()


async def test_where_one_address_refuses_the_next_is_used(names: Names) -> None:
    async with peers("127.0.0.3") as there:
        dials = Dials(there[0].port)
        assert await dials.dial() == "127.0.0.3"
        await dials.close()


async def test_no_more_than_three_addresses_are_tried(names: Names) -> None:
    names.addresses = tuple(f"127.0.0.{i}" for i in range(1, 10))
    async with peers("127.0.0.7") as there:
        dials = Dials(there[0].port)
        for _ in range(2):
            with pytest.raises(DialError, match=NAME):
                await dials.dial()
        assert await dials.dial() == "127.0.0.7"
        await dials.close()


async def test_addresses_are_looked_up_again_after_a_failure(names: Names) -> None:
    async with peers("127.0.0.2") as there:
        dials = Dials(there[0].port)
        names.addresses = ("127.0.0.1",)
        with pytest.raises(DialError, match="Connect call failed"):
            await dials.dial()
        names.addresses = ("127.0.0.2",)
        forward(0.9)
        with pytest.raises(DialError, match="Connect call failed"):
            await dials.dial()
        assert names.asked == 1, "not by every call of an outage"
        forward(0.2)
        assert await dials.dial() == "127.0.0.2"
        assert names.asked == 2
        await dials.close()


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        OSError("no resolver"),
    ],
)
async def test_an_unknown_name(names: Names, error: OSError) -> None:
    names.error = error
    dials = Dials(1)
    with pytest.raises(DialError) as raised:
        await dials.dial()
    assert NAME in str(raised.value)
    names.error, names.addresses = None, ()
    with pytest.raises(DialError, match="no address"):
        await dials.dial()
    assert names.asked == 2


@pytest.mark.parametrize("host", ["", "a..b", "x" * 300, "a\0b"])
@both_loops
async def test_a_name_that_is_none(host: str) -> None:
    dials = Dials(closed_port(), host=host)
    with pytest.raises(DialError):
        await dials.dial()


@contextlib.contextmanager
def black_hole(host: str) -> Iterator[int]:
    """Yield the port of an address where connecting never ends: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, 0), backlog=0))
        address = listener.getsockname()
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(address)
        yield address[1]


async def test_a_silent_address_leaves_time_for_the_others(names: Names) -> None:
    names.addresses = ("127.0.0.2", "127.0.0.1")
    with black_hole("127.0.0.2") as port:
        async with peer(silent, port=port):
            dials = Dials(port, timeout=6.0)
            dialing = asyncio.create_task(dials.dial())
            await until(lambda: dials.dialer._next_index == 1)
            forward(2.9)
            await turns(20)
            assert not dialing.done()
            forward(0.2)
            async with asyncio.timeout(3600):
                assert await dialing == "127.0.0.1"
            await dials.close()


async def test_where_all_are_silent_the_time_is_bounded(names: Names) -> None:
    names.addresses = ("127.0.0.2",)
    with black_hole("127.0.0.2") as port:
        dials = Dials(port, timeout=6.0)
        dialing = asyncio.create_task(dials.dial())
        await until(lambda: dials.dialer._next_index == 1)
        forward(5.9)
        await turns(20)
        assert not dialing.done()
        forward(0.2)
        with pytest.raises(DialError, match="no connection within 6 seconds"):
            await dialing
        assert not dials.open
        names.addresses = (HOST,)
        forward(1.1)
        with pytest.raises(DialError, match="Connect call failed"):
            await dials.dial()
        assert names.asked == 2


async def test_an_address_that_failed_is_avoided_for_a_while(names: Names) -> None:
    async with peers(*ADDRESSES[1:]) as there:
        dials = Dials(there[0].port)
        assert await dials.dial() == "127.0.0.2"
        async with peer(silent, host="127.0.0.1", port=there[0].port):
            forward(28)
            assert [await dials.dial() for _ in range(4)] == 2 * ["127.0.0.3", "127.0.0.2"]
            forward(3)
            assert {await dials.dial() for _ in range(3)} == set(ADDRESSES)
            await dials.close()


async def test_where_all_have_failed_each_is_tried_again(names: Names) -> None:
    port = closed_port()
    dials = Dials(port)
    for _ in range(2):
        with pytest.raises(DialError, match="Connect call failed"):
            await dials.dial()
    for host in ADDRESSES:
        async with peer(silent, host=host, port=port):
            assert await dials.dial() == host
            await dials.close()


async def test_the_families_of_addresses_take_turns() -> None:
    four, six = [("127.0.0.1", 1), ("127.0.0.2", 1)], [("::1", 1, 0, 0), ("::2", 1, 0, 0)]
    found = [(socket.AF_INET6, 1, 6, "", address) for address in (*six, ("::3", 1, 0, 0))]
    found += [(socket.AF_INET, 1, 6, "", address) for address in (*four, four[0])]  # type: ignore[misc]
    assert _interleave(found) == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]
    assert _interleave([]) == []


async def test_many_dials_share_one_lookup_however_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    answering = asyncio.Event()
    asked = 0

    async def slow(host: str, port: int, **_options: object) -> list[tuple[object, ...]]:
        nonlocal asked
        assert host == NAME
        asked += 1
        await answering.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", slow)
    async with peer(silent) as there:
        dials = Dials(there.port, timeout=60.0)
        dialing = [asyncio.create_task(dials.dial()) for _ in range(300)]
        await until(lambda: asked)
        await turns(20)
        forward(40)
        await turns(20)
        answering.set()
        assert await asyncio.gather(*dialing) == 300 * [HOST]
        assert asked == 1
        await dials.close()


async def test_only_so_many_are_opened_at_once(names: Names) -> None:
    names.addresses = (HOST,)
    with black_hole(HOST) as port:
        dials = Dials(port)
        made = 0

        def make() -> Connection:
            nonlocal made
            made += 1
            return dials.make()

        dialing = [asyncio.create_task(dials.dialer.dial(make)) for _ in range(100)]
        await until(lambda: made)
        await turns(200)
        assert made == 64
        for task in dialing[:10]:
            task.cancel()
        await until(lambda: made == 74)
        for task in dialing:
            task.cancel()
        await asyncio.wait(dialing)
        assert not dials.open


async def test_a_resolver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.Event()
    asked = asyncio.Event()

    async def hangs(*_arguments: object, **_options: object) -> None:
        asked.set()
        await never.wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hangs)
    dials = Dials(1, timeout=6.0)
    dialing = asyncio.create_task(dials.dial())
    await asked.wait()
    forward(6.1)
    with pytest.raises(DialError, match="no connection within 6 seconds"):
        await dialing


@pytest.mark.parametrize("wait_for", ["the connection", "the handshake"])
async def test_dialing_may_be_cancelled(trust: Trust, names: Names, wait_for: str) -> None:
    names.addresses = (HOST,)
    async with contextlib.AsyncExitStack() as stack:
        if wait_for == "the handshake":
            there = await stack.enter_async_context(peer(silent))
            port = there.port
        else:
            port = stack.enter_context(black_hole(HOST))
        dials = Dials(port, tls=trust.client)
        dialing = asyncio.create_task(dials.dial())
        if wait_for == "the handshake":
            await until(lambda: there.lines)
        await until(lambda: dials.dialer._next_index == 1)
        await turns(20)
        dialing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialing
        if wait_for == "the handshake":
            await there.over()
        assert not dials.open


@both_loops
@pytest.mark.parametrize("over_tls", [False, True])
async def test_dialing_may_be_cancelled_at_any_turn_of_the_loop(
    trust: Trust, over_tls: bool
) -> None:
    """uvloop reports nothing to the protocol of a connection that is made and then given up."""
    async with peer(silent, tls=trust.server if over_tls else None) as there:
        dials = Dials(there.port, host=HOST, tls=trust.client if over_tls else None)
        cancelled = 0
        for turn in range(40):
            dialing = asyncio.create_task(dials.dial())
            await turns(turn)
            dialing.cancel()
            await asyncio.wait([dialing])
            cancelled += dialing.cancelled()
            await dials.close()
        assert cancelled >= 2
        await there.over()


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# TLS


@both_loops
async def test_the_server_is_checked_by_its_name(trust: Trust) -> None:
    async with peer(silent, tls=trust.server) as there:
        dials = Dials(there.port, host=HOST, tls=trust.client)
        assert await dials.dial() == HOST
        await dials.close()


@both_loops
async def test_a_server_of_another_name_is_refused() -> None:
    other = make_trust("another.test")
    async with peer(silent, tls=other.server) as there:
        dials = Dials(there.port, host=HOST, tls=other.client)
        with pytest.raises(DialError, match="certificate verify failed") as raised:
            await dials.dial()
        assert_shows_no_secret(raised.value)
        await until(lambda: not dials.open)


@both_loops
async def test_a_server_of_another_authority_is_refused(trust: Trust) -> None:
    async with peer(silent, tls=make_trust().server) as there:
        dials = Dials(there.port, host=HOST, tls=trust.client)
        with pytest.raises(DialError, match="certificate verify failed"):
            await dials.dial()
        await until(lambda: not dials.open)


@both_loops
@pytest.mark.parametrize("ending", ["reset", "close", "garbage"])
async def test_a_handshake_that_breaks_off(trust: Trust, ending: str) -> None:
    async def breaks_off(line: Line) -> None:
        await line.reader.read(1)
        if ending == "reset":
            line.reset()
        elif ending == "garbage":
            await line.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await line.gone()

    async with peer(breaks_off) as there:
        dials = Dials(there.port, host=HOST, tls=trust.client)
        with pytest.raises(DialError):
            await dials.dial()
        await until(lambda: not dials.open)


async def test_a_handshake_that_takes_too_long(trust: Trust) -> None:
    async with peer(silent) as there:
        dials = Dials(there.port, host=HOST, tls=trust.client, timeout=6.0)
        dialing = asyncio.create_task(dials.dial())
        await until(lambda: there.lines)
        await turns(20)
        forward(6.1)
        with pytest.raises(DialError, match="no connection within 6 seconds"):
            await dialing
        await there.over()
        assert not dials.open


async def test_the_pool_spreads_too(names: Names) -> None:
    async with peers(*ADDRESSES) as there:
        pool = Pool(
            Origin(NAME, there[0].port, None),
            max_connections=6,
            connect_timeout=5,
            timeouts=TIMEOUTS,
        )
        taken = [await pool.acquire() for _ in range(6)]
        await until(lambda: all(len(one.lines) == 2 for one in there))
        for connection in taken:
            pool.release(connection)
        await pool.aclose()


@both_loops
async def test_dead_peers_are_noticed_by_the_kernel() -> None:
    async with peer(silent) as there:
        dials = Dials(there.port, host=HOST)
        await dials.dial()
        (connection,) = dials.open
        assert connection._transport is not None
        plug = connection._transport.get_extra_info("socket")
        assert plug.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await dials.close()
