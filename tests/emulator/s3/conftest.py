"""An emulator whose objects are in memory or in a folder."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.emulator.server import Emulator


@pytest.fixture(params=["memory", "folder"])
async def stored(
    request: pytest.FixtureRequest, quick: Any, tmp_path: Path
) -> AsyncIterator[Emulator]:
    state = str(tmp_path) if request.param == "folder" else None
    async with Emulator(quick.model_copy(update={"state": state}), buckets=["mine"]) as emulator:
        yield emulator
