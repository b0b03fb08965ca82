"""An outage timer: how long the callers of one service go on without an answer from it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from dispatcher.errors import CallError, RunStopped


@dataclass(slots=True)
class OutageTimer:
    """Shared by all loops that call one service; ends a run that the service does not answer.

    It is no circuit breaker: it holds no call back.

    Attributes:
        give_up_after: Seconds of failures, without one success, after which the run stops.
        monotonic: The clock.
        what: What is not done as long as calls fail, for the message.
        troubles: Failures are counted here, by error code.
    """

    give_up_after: float
    monotonic: Callable[[], float]
    what: str
    troubles: Counter[str] = field(default_factory=Counter)
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
        self.troubles[error.code or type(error).__name__] += 1
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
