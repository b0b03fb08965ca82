"""The fixture that users of the product get."""

import subprocess
import sys

from dispatcher.emulator.server import Emulator

LOADED = """
import sys, dispatcher.emulator.pytest_plugin
print(*(m for m in sys.modules if m.startswith(("dispatcher", "httptools", "pydantic"))))
"""


async def test_fixture_is_a_running_emulator(sagemaker_emulator: Emulator) -> None:
    assert sagemaker_emulator.environment["AWS_ENDPOINT_URL"] == sagemaker_emulator.url
    assert sagemaker_emulator.queue_url.startswith(sagemaker_emulator.url)
    assert sagemaker_emulator.endpoint("emulated").accepted == 0


def test_plugin_imports_nothing_of_the_emulator() -> None:
    loaded = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            LOADED,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(loaded) == {
        "dispatcher",
        "dispatcher.emulator",
        "dispatcher.emulator.pytest_plugin",
    }


def test_fixture_says_what_is_missing_without_pytest_asyncio() -> None:
    script = (
        "import importlib.util as u, pytest\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'pytest_asyncio' else find(name, *a)\n"
        "import dispatcher.emulator.pytest_plugin as plugin\n"
        "try: plugin.sagemaker_emulator.__wrapped__()\n"
        "except AttributeError: plugin.sagemaker_emulator._get_wrapped_function()()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "pip install pytest-asyncio" in done.stderr
