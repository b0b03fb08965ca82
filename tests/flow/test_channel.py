"""Items arrive in order, once, and without a turn of the loop where they are there already."""

import anyio
import pytest

from dispatcher.flow.channel import EagerReceiver, send_eagerly


async def test_what_is_there_arrives_without_a_turn_of_the_loop() -> None:
    send, receive = anyio.create_memory_object_stream[int](10)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        await anyio.lowlevel.checkpoint()
        with send, receive:
            for number in range(10):
                await send_eagerly(send, number)
            send.close()
            before = turns
            assert [item async for item in EagerReceiver(receive)] == list(range(10))
            assert turns == before
        group.cancel_scope.cancel()


async def test_what_comes_later_is_waited_for_until_the_end() -> None:
    send, receive = anyio.create_memory_object_stream[int](0)
    arrived: list[int] = []

    async def take() -> None:
        with receive:
            arrived.extend([item async for item in EagerReceiver(receive)])

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        async with send:
            for number in range(5):
                await send_eagerly(send, number)
    assert arrived == [0, 1, 2, 3, 4]


async def test_a_full_channel_holds_its_sender_back() -> None:
    send, receive = anyio.create_memory_object_stream[int](1)
    with send, receive:
        await send_eagerly(send, 1)
        with anyio.move_on_after(0.01) as waited:
            await send_eagerly(send, 2)
        assert waited.cancelled_caught
        assert receive.receive_nowait() == 1


async def test_a_stream_without_a_receiver_is_an_error() -> None:
    send, receive = anyio.create_memory_object_stream[int](1)
    receive.close()
    with send, pytest.raises(anyio.BrokenResourceError):
        await send_eagerly(send, 1)
