"""Opening connections to a host, spread over its addresses."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from dispatcher.aws.http.connection import Connection

_RESOLVED_SECONDS = 30.0
"""How long addresses are used; the names of AWS are answered with a minute at most."""

_TRIES = 3
"""Most addresses that one connection is tried at."""

_OPENING = 64
"""Most connections being opened at once: handshakes take CPU, and must not time out for that."""

_AGAIN_SECONDS = 1.0
"""How soon a name is looked up again after no connection could be had."""


class DialError(Exception):
    """No connection could be had; nothing was sent."""


@dataclass(slots=True, frozen=True)
class Origin:
    """Where connections go.

    Attributes:
        host: Name or IP address, without brackets.
        port: TCP port.
        tls: How to speak TLS, or None for plain HTTP.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}"


class Dialer:
    """Opens connections, each at the next address of the name.

    Args:
        origin: Where to.
        timeout: Seconds for one connection, its name and its handshake included.
    """

    def __init__(self, origin: Origin, timeout: float) -> None:
        self._origin = origin
        self._timeout = timeout
        self._addresses: list[str] = []
        self._until = 0.0
        self._turn = 0
        self._silent: dict[str, float] = {}  # addresses that failed, and until when to avoid them
        self._looking = asyncio.Lock()
        self._opening = asyncio.Semaphore(_OPENING)

    async def dial(self, protocol: Callable[[], Connection]) -> Connection:
        """Return a new connection.

        Raises:
            DialError: There is none to be had.
        """
        loop = asyncio.get_running_loop()
        async with self._opening:
            deadline = loop.time() + self._timeout
            why: Exception = TimeoutError()
            try:
                async with asyncio.timeout_at(deadline):
                    addresses = await self._resolve(loop)
                tries = min(_TRIES, len(addresses))
                for left in range(tries, 0, -1):
                    address = self._next(addresses, loop.time())
                    # A silent address must leave time for the others.
                    until = loop.time() + (deadline - loop.time()) / left
                    try:
                        async with asyncio.timeout_at(until):
                            return await self._open(loop, protocol, address)
                    except (OSError, ssl.SSLError) as error:
                        self._silent[address] = loop.time() + _RESOLVED_SECONDS
                        why = error
            except (OSError, UnicodeError) as error:
                why = error
        self._until = min(self._until, loop.time() + _AGAIN_SECONDS)  # the name may have moved
        said = str(why) or f"no connection within {self._timeout:.3g} seconds"
        raise DialError(f"{self._origin.host}:{self._origin.port}: {said}") from why

    def _next(self, addresses: Sequence[str], now: float) -> str:
        """Return the address whose turn it is; one that failed lately only where all did."""
        for _ in addresses:
            address = addresses[self._turn % len(addresses)]
            self._turn += 1
            if self._silent.get(address, 0.0) <= now:
                return address
        return min(addresses, key=self._silent.__getitem__)  # or all would be tried at one

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> list[str]:
        """Return the addresses of the name, looked up by one for all who wait."""
        if loop.time() < self._until:
            return self._addresses
        async with self._looking:
            if loop.time() >= self._until:
                found = await loop.getaddrinfo(
                    self._origin.host, self._origin.port, type=socket.SOCK_STREAM
                )
                addresses = _interleaved(found)
                if not addresses:
                    raise OSError("the name has no address")
                self._silent = {a: t for a, t in self._silent.items() if a in addresses}
                self._addresses, self._until = addresses, loop.time() + _RESOLVED_SECONDS
            return self._addresses

    async def _open(
        self, loop: asyncio.AbstractEventLoop, protocol: Callable[[], Connection], address: str
    ) -> Connection:
        origin, connection = self._origin, protocol()
        try:
            transport, _ = await loop.create_connection(
                lambda: connection,
                address,
                origin.port,
                ssl=origin.tls,
                server_hostname=origin.host if origin.tls else None,
            )
        except BaseException:
            # uvloop says nothing to the protocol of a connection that it gives up.
            connection.give_up()
            raise
        # Without it a peer that is gone keeps a long poll waiting until its time is out.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection


def _interleaved(found: Iterable[tuple[Any, ...]]) -> list[str]:
    """Return the addresses, those of IPv4 and IPv6 in turn: one family may lead nowhere."""
    families: dict[int, dict[str, None]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, {})[str(address[0])] = None
    rounds = zip_longest(*families.values())
    return [address for address in chain.from_iterable(rounds) if address is not None]
