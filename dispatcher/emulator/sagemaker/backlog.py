"""Queue of the invocations of one endpoint."""

from collections import deque
from dataclasses import dataclass, field

from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation


@dataclass(slots=True)
class Backlog:
    """Invocations waiting for an instance, first in, first out, each with its own time to live."""

    _queue: deque[int] = field(default_factory=deque)
    # Requests with one TTL expire in the order they came, so each TTL needs no more than a queue.
    _by_ttl: dict[int, deque[AcceptedInvocation]] = field(default_factory=dict)
    # By serial; only here and in its TTL's queue, so that the body of an expired one is freed.
    _waiting: dict[int, AcceptedInvocation] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, invocation: AcceptedInvocation) -> None:
        """Append an invocation."""
        self._queue.append(invocation.serial)
        self._by_ttl.setdefault(invocation.ttl, deque()).append(invocation)
        self._waiting[invocation.serial] = invocation

    def take(self) -> AcceptedInvocation | None:
        """Remove and return the oldest invocation, or None."""
        while self._queue:
            invocation = self._waiting.get(self._queue.popleft())
            if invocation is not None:
                self._leave(invocation)
                return invocation
        return None

    def expire(self, now: float) -> list[AcceptedInvocation]:
        """Remove and return the invocations that have waited longer than their TTL."""
        expired = []
        for queue in list(self._by_ttl.values()):
            while queue and queue[0].received + queue[0].ttl <= now:
                expired.append(queue[0])
                self._leave(queue[0])
        return expired

    def _leave(self, invocation: AcceptedInvocation) -> None:
        del self._waiting[invocation.serial]
        # It is the head of its TTL's queue, because both queues have the same order.
        queue = self._by_ttl[invocation.ttl]
        queue.popleft()
        if not queue:
            del self._by_ttl[invocation.ttl]
