"""Failpoints: named moments at which tests kill a process; nothing happens there otherwise.

``reach("ledger.committed")`` in the code names that moment. A real process is killed at the one
that ``DISPATCHER_FAILPOINT`` names; the simulation adds a hook.
"""

import os
import signal
from collections.abc import Callable

VARIABLE = "DISPATCHER_FAILPOINT"
"""Environment variable: the name of a moment, and after a colon the visit that kills, from 1."""

NAMES = frozenset(
    {
        "completion.acknowledged",
        "completion.claimed",
        "completion.joined",
        "completion.received",
        "completion.split",
        "dispatch.accepted",
        "dispatch.answered",
        "dispatch.calling",
        "dispatch.deleting",
        "dispatch.staged",
        "dispatch.staging",
        "ledger.committed",
        "ledger.spooled",
        "ledger.written",
        "settled.unacknowledged",
        "sink.appended",
        "sink.written",
    }
)
"""Every moment that the code names; a test compares them with the calls of ``reach``."""

hooks: list[Callable[[str], None]] = []
"""Called with the name of each moment that is reached."""


def reach(name: str) -> None:
    """Call the hooks; ``name`` is a literal, so that a search lists all of them."""
    for hook in hooks:
        hook(name)


def arm_from_environment() -> None:
    """Kill this process at the moment that the environment names, if it names one.

    Raises:
        ValueError: There is no such moment, or the visit is no number from 1.
    """
    if failpoint := os.environ.get(VARIABLE):
        name, colon, visit = failpoint.partition(":")
        if name not in NAMES:
            raise ValueError(
                f"{VARIABLE} names {name!r}, which is no failpoint; the failpoints are "
                f"{', '.join(sorted(NAMES))}"
            )
        if colon and not (visit.isdecimal() and int(visit)):
            raise ValueError(
                f"{VARIABLE} has {visit!r} for the visit that kills; write a number from 1, as in "
                f"{name}:3"
            )
        hooks.append(_killer(name, int(visit or 1)))


def _killer(name: str, visit: int) -> Callable[[str], None]:
    left = visit

    def hook(reached: str) -> None:
        nonlocal left
        left -= reached == name
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
