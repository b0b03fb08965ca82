"""A failpoint kills the process at the visit that the environment names, and nowhere else."""

import signal
import subprocess
import sys

import pytest

from dispatcher import failpoints
from tests.faults.scenario import moments

CODE = (
    "from dispatcher import failpoints\n"
    "failpoints.arm_from_environment()\n"
    "for n in range(4):\n"
    "    failpoints.reach('sink.appended')\n"
    "    failpoints.reach('sink.written')\n"
    "    print(n, flush=True)\n"
)


@pytest.mark.parametrize(
    ("named", "visits", "code"),
    [
        ("sink.written", 0, -signal.SIGKILL),
        ("sink.written:3", 2, -signal.SIGKILL),
        ("ledger.written", 4, 0),
        ("", 4, 0),
    ],
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


def test_every_reached_name_is_listed() -> None:
    assert frozenset(moments()) == failpoints.NAMES


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ("completion.apart", f"no failpoint; .*{'.*'.join(sorted(failpoints.NAMES))}"),
        ("sink.written:0", r"'0' for the visit .* sink\.written:3"),
        ("sink.written:x", "'x' for the visit"),
        ("sink.written:", "'' for the visit"),
    ],
)
def test_an_unknown_name_or_visit_is_refused(
    monkeypatch: pytest.MonkeyPatch, named: str, error: str
) -> None:
    monkeypatch.setattr(failpoints, "hooks", [])
    monkeypatch.setenv(failpoints.VARIABLE, named)
    with pytest.raises(ValueError, match=error):
        failpoints.arm_from_environment()
    assert failpoints.hooks == []
