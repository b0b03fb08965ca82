"""How long the loops of a run that call one service go on without any answer of it."""

from collections.abc import Callable
from dataclasses import dataclass

from dispatcher.errors import CallError, RunStopped
from dispatcher.observe.meter import Meter


@dataclass(slots=True)
class Patience:
    """Shared by all loops that call one service; ends a run that it does not answer any more.

    Attributes:
        give_up_after: Seconds of failures, without one success, after which the run stops.
        monotonic: The clock.
        meter: Failures are counted in ``troubles``.
        what: What is not done as long as calls fail, for the message.
    """

    give_up_after: float
    monotonic: Callable[[], float]
    meter: Meter
    what: str = "completions could not be asked for"
    _failing_since: float | None = None
    _failed_at: float = 0.0

    def succeeded(self) -> None:
        """Note that a call was answered."""
        self._failing_since = None

    def failed(self, error: CallError) -> None:
        """Note that a call was not answered.

        Raises:
            RunStopped: None was for ``give_up_after``.
        """
        now = self.monotonic()
        self.meter.troubles[error.code or type(error).__name__] += 1
        # Two failures far apart, and no call between them, say nothing of the time between them.
        if self._failing_since is None or now - self._failed_at > self.give_up_after / 2:
            self._failing_since = self._failed_at = now
            return
        self._failed_at = now
        if now - self._failing_since >= self.give_up_after:
            raise RunStopped(
                f"{self.what} in {self.give_up_after / 60:.3g} minutes; the "
                f"last error: {error}. The run stopped with its state kept: run the same command "
                "again when the service is back"
            ) from error
