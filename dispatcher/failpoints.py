"""Named moments at which tests make a process die; nothing happens there otherwise.

``reach("ledger.committed")`` in the code names the moment right there. A real process dies at one
when ``DISPATCHER_FAILPOINT`` names it; the simulation hooks itself in.
"""

import os
import signal
from collections.abc import Callable

VARIABLE = "DISPATCHER_FAILPOINT"
"""Environment variable: the name of a moment, and after a colon which of its visits is the last."""

hooks: list[Callable[[str], None]] = []
"""Called with the name of every moment that is reached."""


def reach(name: str) -> None:
    """Note that a moment is reached; ``name`` is a literal, so that all can be listed."""
    for hook in hooks:
        hook(name)


def arm_from_environment() -> None:
    """Let this process be killed where the environment says so."""
    if told := os.environ.get(VARIABLE):
        name, _, visit = told.partition(":")
        hooks.append(_killer(name, int(visit or 1)))


def _killer(name: str, visit: int) -> Callable[[str], None]:
    left = visit

    def hook(reached: str) -> None:
        nonlocal left
        left -= reached == name
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
