"""What waits for a queue is tested in virtual time; files are written by threads."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.virtual_time import VirtualLoop, no_threads

__all__ = ["no_threads"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    del config
    return (
        {"virtual": VirtualLoop} if item.path.name in {"test_sink.py", "test_source.py"} else None
    )
