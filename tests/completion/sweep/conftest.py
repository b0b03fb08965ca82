"""The scene of the sweep: a run with a completion queue from which nothing arrives."""

from collections.abc import AsyncIterator

import pytest

from tests.completion.scene import QUEUE, OpenScene, Scene


@pytest.fixture
async def scene(open_scene: OpenScene) -> AsyncIterator[Scene]:
    async with open_scene(completion=QUEUE) as opened:
        yield opened
