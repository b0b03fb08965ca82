"""Channel operations that skip a turn of the event loop where they need not wait.

Receiving from a stream of anyio always takes a turn, which costs as much as parsing the item. A
task that uses these must wait for something else from time to time, such as a response.
"""

from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Item = TypeVar("Item")


class EagerReceiver(AsyncIterator[Item], Generic[Item]):
    """Iterator of the items of a stream, until it ends."""

    def __init__(self, stream: MemoryObjectReceiveStream[Item]) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Item:
        """Return the next item, without a turn of the event loop where there is one."""
        try:
            try:
                return self._stream.receive_nowait()
            except anyio.WouldBlock:
                return await self._stream.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


async def send_eagerly(stream: MemoryObjectSendStream[Item], item: Item) -> None:
    """Send an item, without a turn of the event loop where there is room."""
    try:
        stream.send_nowait(item)
    except anyio.WouldBlock:
        await stream.send(item)
