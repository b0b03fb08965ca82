"""A run dies at every named moment; ``python -m tests.faults.failpoints`` does the same."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import dispatcher
from tests.faults.failpoints import die_at
from tests.faults.killed_run import Report
from tests.faults.scenario import moments

AT_A_TIME = 4

pytestmark = pytest.mark.timeout(180)  # the first waits for its processes; all take half a minute


@pytest.fixture(scope="module")
def deaths() -> Iterator[dict[str, Future[Report]]]:
    with ProcessPoolExecutor(AT_A_TIME, get_context("spawn")) as pool:
        yield {moment: pool.submit(die_at, moment) for moment in moments()}


@pytest.mark.parametrize("moment", moments())
def test_a_run_that_dies_there_twice_is_finished_by_the_third_process(
    moment: str, deaths: dict[str, Future[Report]]
) -> None:
    report = deaths[moment].result()
    assert report.wrong == [], report.folder
    assert report.counts["kills"] == 2


def test_no_moment_escapes_the_search() -> None:
    room = Path(dispatcher.__file__).parent
    files = [path for path in room.rglob("*.py") if path != room / "failpoints.py"]
    called = [
        call
        for path in files
        for call in re.findall(r"(?<![\w.])([\w.]*\breach\(.*)", path.read_text())
    ]
    named = [re.fullmatch(r'failpoints\.reach\("([a-z.]+)"\)', call) for call in called]
    assert all(named), f"say failpoints.reach with a literal: {called}"
    assert sorted({match[1] for match in named if match}) == moments()
    assert len(moments()) >= 14
