"""Shutdown: a graceful stop drains what is outstanding; a hard stop cancels it.

Both are safe at any moment: what has no outcome stays in the ledger, and the next process of the
run goes on with it.
"""

import signal
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from dispatcher.dispatch.held_refusals import HeldRefusals
from dispatcher.dispatch.intake import Intake
from dispatcher.dispatch.resend import ResendQueue
from dispatcher.observe.events import Observer, PhaseChanged
from dispatcher.records.source import Source


@dataclass(slots=True, kw_only=True)
class Shutdown:
    """Ends a run before its source has ended.

    Attributes:
        source: Reads no more after a stop.
        intake: Plans no more.
        resend: Sends nothing that still waits.
        held_refusals: Leaves what is undecided to the next process.
        drain: ``limits.drain``: seconds for what is outstanding.
        observe: Gets the events.
        received: The signal that stopped the run, or None.
    """

    source: Source
    intake: Intake
    resend: ResendQueue
    held_refusals: HeldRefusals
    drain: float
    observe: Observer
    received: int | None = None

    async def handle_signals(self, tasks: TaskGroup) -> None:
        """Stop gracefully after the first SIGINT or SIGTERM, and hard after the second."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for received in signals:
                if self.received is not None:
                    self.stop_hard(tasks)
                    return
                self.received = received
                self.stop_gracefully(tasks)

    def stop_gracefully(self, tasks: TaskGroup) -> None:
        """Close the head; what is outstanding may complete within ``drain`` seconds."""
        self.observe(PhaseChanged("draining"))
        self.held_refusals.is_stopping = True
        self.source.stop()
        self.intake.stop()
        self.resend.stop()
        tasks.start_soon(self._stop_after_drain, tasks)

    def stop_hard(self, tasks: TaskGroup) -> None:
        """Cancel everything at once."""
        tasks.cancel_scope.cancel()

    async def _stop_after_drain(self, tasks: TaskGroup) -> None:
        await anyio.sleep(self.drain)
        self.stop_hard(tasks)
