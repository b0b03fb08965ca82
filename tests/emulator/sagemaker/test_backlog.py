"""The queue of an endpoint."""

import sys
from typing import Any

from dispatcher.emulator.sagemaker.backlog import Backlog


def test_expired_invocation_frees_its_body(make_invocation: Any) -> None:
    backlog = Backlog()
    first, second = make_invocation(ttl=600), make_invocation(ttl=60)
    before = sys.getrefcount(second)
    backlog.add(first)
    backlog.add(second)
    assert len(backlog.expire(second.received + 61)) == 1
    # It waited behind the first one, which stays.
    assert len(backlog) == 1
    assert sys.getrefcount(second) == before
    assert backlog.take() is first
    assert backlog.take() is None
