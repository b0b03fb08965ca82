"""An emulator in a thread of this process, with what no client can know of a service.

Runs of the real command reach it over HTTP like any other. Time is counted in terms: a term begins
when a process of the run is started, and lasts until the next one is.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import start_blocking_portal

from dispatcher.config.settings import EmulatorSettings
from dispatcher.emulator.gateway.call import Call
from dispatcher.emulator.gateway.fault_types import CallFault
from dispatcher.emulator.sagemaker.call import INVOKE
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation
from dispatcher.emulator.server import Emulator


class Cloud:
    """Runs while its context is entered.

    Args:
        settings: The ``emulator`` section of a configuration.

    Attributes:
        term: Number of the process of the run that lives, or lived last; set by who starts them.
        accepted: How often each id was accepted in each term.
        accepted_at: When it was last accepted, monotonic seconds.
        unanswered: How often it was accepted, and the connection reset without an answer.
    """

    def __init__(self, **settings: Any) -> None:
        self._emulator = Emulator(EmulatorSettings.model_validate(settings))
        self._open = ExitStack()
        self.term = 0
        self.accepted: dict[str, Counter[int]] = defaultdict(Counter)
        self.accepted_at: dict[str, float] = {}
        self.unanswered: dict[str, Counter[int]] = defaultdict(Counter)

    @property
    def environment(self) -> dict[str, str]:
        """Return what ``dispatcher emulate`` would print: an environment, and the queue."""
        return {**self._emulator.environment, "QUEUE_URL": self._emulator.queue_url}

    @property
    def struck(self) -> Counter[str]:
        """Return how often each fault has struck."""
        return Counter({str(fault): n for fault, n in self._emulator.faults.struck.items()})

    def outputs(self) -> set[str]:
        """Return the names of the output objects that are there, without their folders."""
        return {key.rpartition("/")[2] for key in list(self._emulator.objects("emulator-output"))}

    def deliver(self, bodies: Iterable[str], *, visibility: int) -> str:
        """Fill a queue for a run to read from; return its URL."""
        queues = self._emulator._queues
        mailbox = queues.create("source")
        mailbox.attributes["VisibilityTimeout"] = str(visibility)
        mailbox.messages.visibility = visibility
        for body in bodies:
            mailbox.send(body)
        return self._emulator.queue_url.replace("completions", "source")

    def left(self) -> int:
        """Return how many messages that queue still holds."""
        queue = self._emulator._queues.create("source").messages
        return sum(queue.counts(now=time.time()))

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            portal = opening.enter_context(start_blocking_portal())
            opening.enter_context(portal.wrap_async_context_manager(self._emulator))
            self._watch()
            self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def _watch(self) -> None:
        endpoint, faults = self._emulator.endpoint("emulated"), self._emulator.faults
        offer, decide = endpoint.offer, faults.call

        def note_accepted(invocation: AcceptedInvocation) -> None:
            self.accepted[invocation.inference_id][self.term] += 1
            self.accepted_at[invocation.inference_id] = time.monotonic()
            offer(invocation)

        def note_unanswered(call: Call) -> CallFault:
            fault = decide(call)
            if call.operation == INVOKE and fault.reset == "after":
                self.unanswered[call.id][self.term] += 1
            return fault

        vars(endpoint)["offer"] = note_accepted
        vars(faults)["call"] = note_unanswered
