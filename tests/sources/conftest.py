"""What waits for a queue is tested in virtual time; files are read by threads, which know none."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    if item.path.name == "test_sqs.py":
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}
