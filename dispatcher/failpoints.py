"""Failpoints: named moments at which tests kill a process; nothing happens there otherwise.

``reach("ledger.committed")`` in the code names that moment. A real process is killed at the one
that ``DISPATCHER_FAILPOINT`` names; the simulation adds a hook.
"""

import os
import signal
from collections.abc import Callable

VARIABLE = "DISPATCHER_FAILPOINT"
"""Environment variable: the name of a moment, and after a colon the visit that kills, from 1."""

hooks: list[Callable[[str], None]] = []
"""Called with the name of each moment that is reached."""


def reach(name: str) -> None:
    """Call the hooks; ``name`` is a literal, so that a search lists all of them."""
    for hook in hooks:
        hook(name)


def arm_from_environment() -> None:
    """Kill this process at the moment that the environment names, if it names one."""
    if failpoint := os.environ.get(VARIABLE):
        name, _, visit = failpoint.partition(":")
        hooks.append(_killer(name, int(visit or 1)))


def _killer(name: str, visit: int) -> Callable[[str], None]:
    left = visit

    def hook(reached: str) -> None:
        nonlocal left
        left -= reached == name
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
