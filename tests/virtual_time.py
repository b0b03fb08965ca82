"""An event loop on whose clock only sleeping takes time.

A ``conftest.py`` that imports all of this runs its folder's tests on it.
"""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

T = TypeVar("T")
BEGAN = 1000.0
EPOCH = 1_700_000_000.0


class JumpingSelector(selectors.SelectSelector):
    """Instead of waiting it lets the time pass at once."""

    def __init__(self) -> None:
        super().__init__()
        self.time = BEGAN

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        if not ready and timeout:
            self.time += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on whose clock only sleeping takes time."""

    def __init__(self) -> None:
        self.clock = JumpingSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.time


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what belongs on a worker thread in place: threads know no virtual time."""

    async def in_place(function: Callable[..., T], *args: Any, **_options: Any) -> T:
        await anyio.lowlevel.checkpoint()
        result = function(*args)
        await anyio.lowlevel.checkpoint()
        return result

    monkeypatch.setattr(anyio.to_thread, "run_sync", in_place)


def monotonic() -> float:
    return asyncio.get_running_loop().time()


def now() -> float:
    return EPOCH + monotonic() - BEGAN
