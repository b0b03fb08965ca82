"""Runs of the real pipeline on virtual time, with crashes and every fault, against the laws."""

import random
import sys
import time
from pathlib import Path

import pytest

from tests.simulation.simulate import Report, simulate, workplace

ONCE_FAILED = [18, 28, 112, 155, 902167, 2003365, 2005587, 5502012]
"""Seeds that showed a defect, of the product or of the simulation, when they were simulated first:
what a seed means changes when the scenarios grow."""

SECONDS = 6
"""Of CPU; three times as many of the clock at the most, where others need the machine, too."""


def described(report: Report) -> str:
    tail = "\n".join(str(event) for event in report.history[-40:])
    laws = "\n".join(str(violation) for violation in report.violations)
    return f"python -m tests.simulation --history --from {report.seed}\n{tail}\n{laws}"


def test_a_folder_that_is_not_empty_is_left_as_it_is() -> None:
    with workplace():
        kept = Path("kept")
        kept.touch()
        with pytest.raises(RuntimeError, match="not empty"):
            simulate(1)
        assert kept.exists()
        kept.unlink()


def test_fresh_seeds_break_no_law() -> None:
    first = random.SystemRandom().randrange(10**9)
    sys.stdout.write(f"seeds from {first} on\n")
    until, at_most = time.process_time() + SECONDS, time.monotonic() + 3 * SECONDS
    seed = first
    with workplace():
        while time.process_time() < until and time.monotonic() < at_most:
            report = simulate(seed)
            assert not report.violations, described(report)
            seed += 1


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_a_seed_that_failed_once_breaks_no_law(seed: int) -> None:
    with workplace():
        report = simulate(seed)
    assert not report.violations, described(report)


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_seed_is_one_history(seed: int) -> None:
    with workplace():
        first, second = simulate(seed), simulate(seed)
    assert first.history == second.history
    assert len(first.history) > 20
