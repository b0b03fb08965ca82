"""The runtime is tuned for long runs, and standard streams are always open."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.cli.runtime_tuning import fill_standard_streams, tune


@pytest.fixture
def collector() -> Iterator[None]:
    """Restore the garbage collector of this process."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_the_collector_is_spared() -> None:
    tune()
    assert gc.get_threshold()[0] == 100_000
    assert gc.get_freeze_count() > 0


def test_closed_standard_streams_are_opened() -> None:
    code = (
        "import os\n"
        "from dispatcher.cli.runtime_tuning import fill_standard_streams\n"
        "os.close(0)\n"
        "fill_standard_streams()\n"
        "assert os.path.samestat(os.fstat(0), os.stat(os.devnull))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_open_standard_streams_are_left_alone() -> None:
    before = [os.fstat(number).st_ino for number in (0, 1, 2)]
    fill_standard_streams()
    assert [os.fstat(number).st_ino for number in (0, 1, 2)] == before


def test_streams_that_are_closed_at_the_start_are_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m dispatcher"
    for closed in (">&-", "2>&-"):
        result = subprocess.run(["/bin/sh", "-c", f"{command} schema {closed}"], check=False)
        assert result.returncode == 0, closed
    result = subprocess.run(["/bin/sh", "-c", f"{command} check no.yaml 2>&-"], check=False)
    assert result.returncode == 1
