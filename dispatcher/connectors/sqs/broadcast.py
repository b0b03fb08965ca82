"""A broadcast: wakes every task that waits at the moment."""

import anyio


class Broadcast:
    """Wakes all waiting tasks; a task that begins to wait later waits for the next time."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify_all(self) -> None:
        """Wake the tasks that wait now."""
        self._event.set()
        self._event = anyio.Event()

    async def wait(self) -> None:
        """Return at the next ``notify_all``."""
        await self._event.wait()
