"""A broadcast wakes the tasks that wait at the moment, and no later ones."""

import anyio

from dispatcher.connectors.sqs.broadcast import Broadcast


async def test_it_wakes_all_that_wait_and_none_that_come_later() -> None:
    broadcast, woken = Broadcast(), list[str]()

    async def wait(name: str) -> None:
        await broadcast.wait()
        woken.append(name)

    async with anyio.create_task_group() as group:
        for name in ("a", "b"):
            group.start_soon(wait, name)
        await anyio.wait_all_tasks_blocked()
        broadcast.notify_all()
        group.start_soon(wait, "late")
        await anyio.wait_all_tasks_blocked()
        assert sorted(woken) == ["a", "b"]
        broadcast.notify_all()
    assert woken[-1] == "late"
