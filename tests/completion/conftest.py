"""The scene of this folder's tests, on virtual time."""

from tests.completion.scene import open_scene, scene
from tests.virtual_time import no_threads, pytest_asyncio_loop_factories

# Fixtures and a hook.
__all__ = ["no_threads", "open_scene", "pytest_asyncio_loop_factories", "scene"]
