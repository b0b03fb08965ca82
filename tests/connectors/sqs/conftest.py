"""Tests of queues run in virtual time."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.virtual_time import VirtualLoop, no_threads

__all__ = ["no_threads"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    del config, item
    return {"virtual": VirtualLoop}
