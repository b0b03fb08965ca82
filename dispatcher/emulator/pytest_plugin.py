"""pytest fixtures for code that calls SageMaker asynchronous inference.

The plugin is found by itself once the package is installed. It needs pytest-asyncio::

    async def test_mine(sagemaker_emulator):
        settings = {"endpoint_url": sagemaker_emulator.url, ...}

Override ``sagemaker_emulator_settings`` in a ``conftest.py`` to have another model, wrapped events
or faults. Every pytest run of every user loads this module, so it imports next to nothing.
"""

from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dispatcher.config.settings import EmulatorSettings
    from dispatcher.emulator.server import Emulator


@pytest.fixture
def sagemaker_emulator_settings() -> "EmulatorSettings":
    """Return the settings of ``sagemaker_emulator``: the defaults, with a model that takes no time.

    To be overridden by fixtures of the same name.
    """
    from dispatcher.config.settings import EmulatorSettings, ServiceTime  # noqa: PLC0415 - cheap

    return EmulatorSettings(service_time=ServiceTime(median=0.0))


if find_spec("pytest_asyncio") is not None:
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def sagemaker_emulator(
        sagemaker_emulator_settings: "EmulatorSettings",
    ) -> "AsyncIterator[Emulator]":
        """Run an emulator for one test, with the endpoint ``emulated``.

        Its ``url``, ``queue_url``, ``input_bucket``, ``output_bucket`` and ``environment`` say how
        to reach it; ``endpoint("emulated")``, ``objects(bucket)`` and ``idle()`` look inside.
        """
        from dispatcher.emulator.server import Emulator  # noqa: PLC0415 - cheap

        async with Emulator(sagemaker_emulator_settings) as emulator:
            yield emulator

else:

    @pytest.fixture
    def sagemaker_emulator() -> None:
        """Say what is missing."""
        pytest.fail(
            "The fixture sagemaker_emulator needs pytest-asyncio: pip install pytest-asyncio"
        )
