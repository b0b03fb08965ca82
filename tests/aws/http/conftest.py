"""Loops of the client's tests: both; only asyncio's for those that set the clock."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.aws.http.peer import LOOPS, Trust, make_trust


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS


@pytest.fixture(scope="session")
def trust() -> Trust:
    return make_trust()
