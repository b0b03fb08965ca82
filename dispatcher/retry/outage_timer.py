"""The outage timer: ends a run when the requests to a service have failed for too long."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import TypeAlias

from dispatcher.errors import CallError, RunStopped


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request of a kind that an outage timer watches failed.

    Attributes:
        symptom: A clause that names the request that failed, such as "completions could not be
            asked for".
        code: The error's code.
    """

    symptom: str
    code: str


@dataclass(frozen=True, slots=True)
class TroubleBegan:
    """The first request failed after one that succeeded.

    Attributes:
        symptom: A clause that names the request that failed.
        error: The error, for people.
    """

    symptom: str
    error: str


@dataclass(frozen=True, slots=True)
class TroubleEnded:
    """A request succeeded again.

    Attributes:
        symptom: A clause that names the request that failed.
        seconds: Time since its first failure.
    """

    symptom: str
    seconds: float


OutageEvent: TypeAlias = RequestFailed | TroubleBegan | TroubleEnded


def _ignore(_: OutageEvent) -> None:
    pass


@dataclass(slots=True)
class OutageTimer:
    """Ends a run whose requests of one kind all fail; shared by the loops that make them.

    It is no circuit breaker: it holds no request back.

    Attributes:
        give_up_after: Seconds of failures, without one success, after which the run stops.
        monotonic: The clock.
        symptom: A clause that names the failing request, for the message.
        observe: Gets the events.
        forgets_gaps: Two failures far apart, and no request between them, say nothing of the time
            between them. Not so for a caller that asks without pause: its gaps are the outage.
    """

    give_up_after: float
    monotonic: Callable[[], float]
    symptom: str
    _: KW_ONLY
    observe: Callable[[OutageEvent], None] = _ignore
    forgets_gaps: bool = True
    _began: float | None = None
    _failing_since: float = 0.0
    _failed_at: float = 0.0

    def succeeded(self) -> None:
        """Note that a request was answered."""
        if self._began is not None:
            seconds = self.monotonic() - self._began
            self._began = None
            self.observe(TroubleEnded(self.symptom, seconds))

    def failed(self, error: CallError) -> None:
        """Note that a request failed.

        Raises:
            RunStopped: None has succeeded for ``give_up_after``.
        """
        now = self.monotonic()
        self.observe(RequestFailed(self.symptom, error.code or type(error).__name__))
        if self._began is None:
            self._began = self._failing_since = self._failed_at = now
            self.observe(TroubleBegan(self.symptom, str(error)))
            return
        is_gap = self.forgets_gaps and now - self._failed_at > self.give_up_after / 2
        self._failed_at = now
        if is_gap:
            self._failing_since = now
        elif now - self._failing_since >= self.give_up_after:
            raise outage(self.symptom, self.give_up_after, error) from error


def outage(symptom: str, seconds: float, error: CallError) -> RunStopped:
    """Return the error that stops a run: no request has succeeded for so long.

    Args:
        symptom: A clause that names the request that failed.
        seconds: For how long.
        error: The last error.
    """
    return RunStopped(
        f"{symptom} in {seconds / 60:.3g} minutes; the last error: {error}. The run "
        "stopped with its state kept: run the same command again when the service is back"
    )
