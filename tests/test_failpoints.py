"""A failpoint kills the process at the visit that the environment names, and nowhere else."""

import signal
import subprocess
import sys

import pytest

from dispatcher import failpoints

CODE = (
    "from dispatcher import failpoints\n"
    "failpoints.arm_from_environment()\n"
    "for n in range(4):\n"
    "    failpoints.reach('other')\n"
    "    failpoints.reach('here')\n"
    "    print(n, flush=True)\n"
)


@pytest.mark.parametrize(
    ("named", "visits", "code"),
    [("here", 0, -signal.SIGKILL), ("here:3", 2, -signal.SIGKILL), ("nowhere", 4, 0), ("", 4, 0)],
)
def test_the_process_dies_at_the_named_visit(
    monkeypatch: pytest.MonkeyPatch, named: str, visits: int, code: int
) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, named)
    result = subprocess.run(
        [sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True, check=False
    )
    assert (result.returncode, len(result.stdout.splitlines())) == (code, visits)


def test_hooks_are_called_with_each_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(failpoints, "hooks", [names.append])
    failpoints.reach("a")
    failpoints.reach("b")
    assert names == ["a", "b"]
