"""Pool: the order of connections, their number, and their end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psutil
import pytest

from dispatcher.aws.http.connection import Connection, Timeouts
from dispatcher.aws.http.dialer import DialError
from dispatcher.aws.http.pool import Pool, PoolStatistics
from tests.aws.http.peer import (
    OK,
    TIMEOUTS,
    Line,
    Peer,
    Trust,
    answers_ok,
    closed_port,
    forward,
    make_pool,
    open_and_idle,
    peer,
    permits,
    until,
    until_quiet,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

with_a_clock = pytest.mark.asyncio(loop_factories=["asyncio"])


@pytest.fixture
async def there() -> AsyncIterator[Peer]:
    async with peer() as made:
        yield made


@contextlib.asynccontextmanager
async def pool_to(
    there: Peer, *, max_connections: int = 4, timeouts: Timeouts = TIMEOUTS
) -> AsyncIterator[Pool]:
    pool = make_pool(there.port, max_connections=max_connections, timeouts=timeouts)
    yield pool
    await pool.aclose()
    assert open_and_idle(pool) == (0, 0)


async def use(connection: Connection) -> None:
    reader = await connection.exchange(GET, b"", is_head=False, max_body_bytes=100)
    assert reader.content == b"{}"


async def call(pool: Pool) -> Connection:
    connection = pool.acquire_idle() or await pool.acquire()
    try:
        await use(connection)
    finally:
        pool.release(connection)
    return connection


async def test_calls_one_after_the_other_share_a_connection(there: Peer) -> None:
    async with pool_to(there) as pool:
        assert pool.acquire_idle() is None
        used = {await call(pool) for _ in range(5)}
        assert len(used) == len(there.lines) == 1
        assert open_and_idle(pool) == (1, 1)


async def test_statistics_count_what_is_open_idle_in_use_and_awaited(there: Peer) -> None:
    async with pool_to(there, max_connections=2) as pool:
        held = [await pool.acquire() for _ in range(2)]
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0)
        assert pool.statistics() == PoolStatistics(
            max_connections=2, open=2, idle=0, in_use=2, waiting=1, opened=2
        )
        for connection in held:
            pool.release(connection)
        pool.release(await waiting)
        assert pool.statistics() == PoolStatistics(
            max_connections=2, open=2, idle=2, in_use=0, waiting=0, opened=2
        )
        origin = f"http://127.0.0.1:{there.port}"
        assert repr(pool) == f"<Pool of {origin}: 2 open, 2 idle, 0 of 2 in use, 0 waiting>"


async def test_an_idle_one_that_is_lost_leaves_the_others_in_their_order(there: Peer) -> None:
    async with pool_to(there) as pool:
        first, second, third = [await pool.acquire() for _ in range(3)]
        for connection in (first, second, third):
            await use(connection)
            pool.release(connection)
        second.abort()
        await until(lambda: open_and_idle(pool) == (2, 2))
        assert pool.acquire_idle() is third
        assert pool.acquire_idle() is first
        assert pool.acquire_idle() is None
        for connection in (first, third):
            pool.release(connection)


async def test_the_last_used_is_used_next(there: Peer) -> None:
    async with pool_to(there) as pool:
        first, second, third = [await pool.acquire() for _ in range(3)]
        for connection in (first, third, second):
            await use(connection)
            pool.release(connection)
        assert pool.acquire_idle() is second
        assert pool.acquire_idle() is third
        assert pool.acquire_idle() is first
        assert pool.acquire_idle() is None
        for connection in (first, second, third):
            pool.release(connection)


async def test_there_are_never_more_than_agreed(there: Peer) -> None:
    async with pool_to(there, max_connections=3) as pool:
        await asyncio.gather(*(call(pool) for _ in range(50)))
        assert len(there.asked) == 50
        assert len(there.lines) <= 3
        assert permits(pool) == 3


async def test_the_first_to_wait_is_served_first(there: Peer) -> None:
    async with pool_to(there, max_connections=1) as pool:
        held = await pool.acquire()
        order: list[int] = []

        async def wait(number: int) -> None:
            connection = await pool.acquire()
            order.append(number)
            pool.release(connection)

        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(wait(number))
            await asyncio.sleep(0)
            assert order == []
            assert pool.acquire_idle() is None
            pool.release(held)
        assert order == [0, 1, 2, 3, 4]
        assert len(there.lines) == 1


async def test_a_cancelled_waiter_takes_no_permit(there: Peer) -> None:
    async with pool_to(there, max_connections=1) as pool:
        held = await pool.acquire()
        waiting = [asyncio.create_task(pool.acquire()) for _ in range(4)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[2].cancel()
        await asyncio.sleep(0)
        pool.release(held)
        waiting[1].cancel()  # it has the permit by now, or is about to have it
        got = await asyncio.gather(*waiting, return_exceptions=True)
        connections = [one for one in got if isinstance(one, Connection)]
        for connection in connections:
            pool.release(connection)
        assert connections
        assert permits(pool) == 1


async def test_a_connection_that_cannot_be_had_gives_its_permit_back() -> None:
    pool = make_pool(closed_port(), max_connections=1)
    for _ in range(3):
        with pytest.raises(DialError, match=r"refused|Connect call failed"):
            await pool.acquire()
    assert permits(pool) == 1
    assert open_and_idle(pool) == (0, 0)
    await pool.aclose()


async def test_what_is_given_back_in_mid_exchange_is_closed(there: Peer) -> None:
    async with pool_to(there, max_connections=1) as pool:
        connection = await pool.acquire()
        exchange = asyncio.create_task(use(connection))
        await asyncio.sleep(0)
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        pool.release(connection)
        assert not connection.is_usable
        assert await call(pool) is not connection
        await there.lines[0].over()


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize("over_tls", [False, True])
async def test_what_the_server_closes_is_not_used_again(
    trust: Trust, over_tls: bool, is_reset: bool
) -> None:
    close = asyncio.Event()

    async def closes(line: Line) -> None:
        await line.request()
        await line.say(OK)
        if line.number < 3:
            await close.wait()
            if is_reset:
                line.reset()
        else:
            await line.gone()

    async with peer(closes, tls=trust.server if over_tls else None) as there:
        pool = make_pool(there.port, tls=trust.client if over_tls else None)
        taken = [await pool.acquire() for _ in range(3)]
        for connection in taken:
            await use(connection)
            pool.release(connection)
        assert open_and_idle(pool) == (3, 3)
        close.set()
        await until(lambda: open_and_idle(pool) == (0, 0))
        assert await call(pool) not in taken
        await pool.aclose()


async def test_what_the_server_closes_is_at_once_not_usable(there: Peer) -> None:
    """Between the end of the stream and the end of the connection a call may come."""
    async with pool_to(there) as pool:
        connection = await call(pool)
        connection.eof_received()
        assert not connection.is_usable
        assert pool.acquire_idle() is None
        assert await call(pool) is not connection


@with_a_clock
async def test_idle_connections_are_closed(there: Peer) -> None:
    async with pool_to(there) as pool:
        first, second = await pool.acquire(), await pool.acquire()
        await use(first)
        await use(second)
        pool.release(first)
        forward(8)
        pool.release(second)
        await use(second)  # as if it had been taken again
        assert open_and_idle(pool) == (2, 2)
        forward(TIMEOUTS.idle - 7)
        await until(lambda: open_and_idle(pool) == (1, 1))
        assert pool.acquire_idle() is second
        pool.release(second)
        forward(TIMEOUTS.idle + 1)
        await until(lambda: open_and_idle(pool) == (0, 0))
        await there.over()


@with_a_clock
async def test_what_is_idle_too_long_is_not_used_before_it_is_closed(there: Peer) -> None:
    async with pool_to(there) as pool:
        connection = await call(pool)
        forward(TIMEOUTS.idle)
        assert pool.acquire_idle() is None
        assert permits(pool) == 4
        assert await call(pool) is not connection
        await there.lines[0].over()


@with_a_clock
async def test_use_keeps_a_connection_but_not_forever(there: Peer) -> None:
    async with pool_to(there) as pool:
        first = await call(pool)
        for _ in range(int(TIMEOUTS.age / 10) - 1):
            forward(10)
            assert await call(pool) is first
        forward(10)
        assert await call(pool) is not first
        assert len(there.lines) == 2
        await there.lines[0].over()


@with_a_clock
async def test_an_unused_connection_is_closed_too(there: Peer) -> None:
    async with pool_to(there) as pool:
        pool.release(await pool.acquire())
        assert open_and_idle(pool) == (1, 1)
        forward(TIMEOUTS.idle + 1)
        await until(lambda: open_and_idle(pool) == (0, 0))


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_idle_connections_are_closed_on_the_clock_of_uvloop(there: Peer) -> None:
    timeouts = Timeouts(silence=10, total=10, idle=0.02, age=10)
    async with pool_to(there, timeouts=timeouts) as pool:
        await call(pool)
        await until(lambda: open_and_idle(pool) == (0, 0))


@pytest.mark.parametrize("over_tls", [False, True])
async def test_closing_leaves_nothing(trust: Trust, over_tls: bool) -> None:
    async with peer() as there, pool_to(there) as pool:
        await call(pool)  # what the loop itself opens is open by now
    await until_quiet()
    files = psutil.Process().num_fds()
    tasks = asyncio.all_tasks()

    async def silent_at_last(line: Line) -> None:
        await line.request()
        await line.say(OK)
        await line.gone()

    async with peer(silent_at_last, tls=trust.server if over_tls else None) as there:
        pool = make_pool(there.port, tls=trust.client if over_tls else None)
        taken = [await pool.acquire() for _ in range(4)]
        for connection in taken:
            await use(connection)
        pool.release(taken[0])
        pool.release(taken[1])
        waiting = asyncio.create_task(use(taken[2]))  # the server does not response again
        await asyncio.sleep(0)
        await pool.aclose()
        assert open_and_idle(pool) == (0, 0)
        with pytest.raises(Exception, match=r"closed|lost|abort|reset"):
            await waiting
        pool.release(taken[2])
        pool.release(taken[3])
        assert permits(pool) == 4
        assert open_and_idle(pool) == (0, 0)
        await pool.aclose()
    assert asyncio.all_tasks() == tasks
    await until_quiet()
    assert psutil.Process().num_fds() == files


async def test_many_calls_at_once_on_few_connections() -> None:
    async with peer(answers_ok) as there, pool_to(there, max_connections=2) as pool:
        used = await asyncio.gather(*(call(pool) for _ in range(200)))
        assert len(set(used)) <= 2
        assert len(there.asked) == 200
