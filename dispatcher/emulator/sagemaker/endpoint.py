"""One emulated endpoint: its queue, its instances, and the outcomes of invocations."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol

from dispatcher.emulator.clock import Clock
from dispatcher.emulator.models.model import (
    ModelError,
    ModelRequest,
    ModelResponse,
    Predict,
    Result,
    ServiceTimes,
    echo,
)
from dispatcher.emulator.models.text_stats import text_stats
from dispatcher.emulator.sagemaker.backlog import Backlog
from dispatcher.emulator.sagemaker.fault_types import EndpointFaults
from dispatcher.emulator.sagemaker.invocation import AcceptedInvocation

_QUICK = (echo, text_stats)
"""Plain functions that need no thread."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True)
class Failure:
    """The failure of an invocation.

    Attributes:
        reason: The event's failureReason.
        body: The failure object.
    """

    reason: str
    body: bytes


class Outcomes(Protocol):
    """Source of an endpoint's inputs, and receiver of its outcomes."""

    async def load(self, invocation: AcceptedInvocation) -> bytes | Failure:
        """Return the payload, or the failure where there is none."""

    def completed(
        self, invocation: AcceptedInvocation, response: ModelResponse, *, silent: bool = False
    ) -> None:
        """Write the output, then publish unless ``silent``."""

    def failed(
        self, invocation: AcceptedInvocation, failure: Failure, *, silent: bool = False
    ) -> None:
        """Write the failure object, then publish unless ``silent``."""

    def expired(self, invocation: AcceptedInvocation, *, silent: bool = False) -> None:
        """Publish that the time to live is over, unless ``silent``."""


class Endpoint:
    """Runs invocations in order on a number of instances.

    Args:
        name: The endpoint's name.
        model: The model.
        instances: Inferences at once.
        times: How long each takes, on top of what the model itself needs.
        clock: Time.
        outcomes: Source of the inputs and receiver of the outcomes.
        faults: Source of the faults of invocations.
        threads: Runs models that are plain functions.
        spawn: Starts a task that the emulator owns.

    Attributes:
        accepted: Invocations taken since the start; so ``completed``, ``failed``, ``expired``.
        running: Inferences under way.
    """

    def __init__(
        self,
        name: str,
        *,
        model: Predict,
        instances: int,
        times: ServiceTimes,
        clock: Clock,
        outcomes: Outcomes,
        faults: EndpointFaults,
        threads: Executor,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.name = name
        self.accepted = 0
        self.completed = 0
        self.failed = 0
        self.expired = 0
        self.running = 0
        self._model = model
        self._instances = instances
        self._times = times
        self._clock = clock
        self._outcomes = outcomes
        self._faults = faults
        self._threads = threads
        self._spawn = spawn
        self._backlog = Backlog()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def queued(self) -> int:
        """Invocations waiting for an instance."""
        return len(self._backlog)

    def offer(self, invocation: AcceptedInvocation) -> None:
        """Take an accepted invocation."""
        self.accepted += 1
        self._idle.clear()
        self._backlog.add(invocation)
        if self.running < self._instances:
            self.running += 1
            self._spawn(self._work())

    def expire(self) -> None:
        """Expire the invocations that have waited too long; call it about once a second."""
        for invocation in self._backlog.expire(self._clock.now()):
            self.expired += 1
            try:
                self._outcomes.expired(invocation)
            except OSError as error:
                _log_lost_outcome(invocation, error)
        self._update_idle()

    async def idle(self) -> None:
        """Return when nothing waits or runs."""
        await self._idle.wait()

    def _update_idle(self) -> None:
        if not self.running and not self._backlog:
            self._idle.set()

    async def _work(self) -> None:
        # One instance: it lives as long as there is work, so an idle endpoint has no tasks.
        try:
            while True:
                self.expire()
                invocation = self._backlog.take()
                if invocation is None:
                    break
                try:
                    await self._infer(invocation)
                except Exception as error:
                    # The instance must go on after any error.
                    _log_lost_outcome(invocation, error)
        finally:
            self.running -= 1
            self._update_idle()

    async def _infer(self, invocation: AcceptedInvocation) -> None:
        fault = self._faults.invocation(invocation)
        if fault.expires:
            self.expired += 1
            self._outcomes.expired(invocation, silent=fault.silent)
            return
        time = self._times.draw()
        late = time >= invocation.timeout
        # Even a model that takes no time lets the others run in between.
        await self._clock.sleep(min(time, invocation.timeout))
        if fault.model_status is not None:
            result: ModelResponse | Failure = _model_failure(
                fault.model_status, "a fault of the emulator"
            )
        elif late:
            result = _timed_out()
        else:
            result = await self._call_model(invocation, asyncio.timeout(invocation.timeout - time))
        if isinstance(result, ModelResponse):
            result = self._faults.output(invocation, result)
            silent = self._faults.silences(invocation)
            self._outcomes.completed(invocation, result, silent=silent)
            self.completed += 1
        else:
            self._outcomes.failed(invocation, result, silent=fault.silent)
            self.failed += 1

    async def _call_model(
        self, invocation: AcceptedInvocation, limit: asyncio.Timeout
    ) -> ModelResponse | Failure:
        body = invocation.body
        if invocation.input_location is not None:
            loaded = await self._outcomes.load(invocation)
            if isinstance(loaded, Failure):
                return loaded
            body = loaded
        request = ModelRequest(
            body=body,
            content_type=invocation.content_type,
            accept=invocation.accept,
            custom_attributes=invocation.custom_attributes,
            inference_id=invocation.inference_id,
            endpoint=invocation.endpoint,
        )
        try:
            async with limit:
                result = await self._predict(request)
        except ModelError as error:
            return _model_failure(error.status, error.message)
        except Exception as error:
            if limit.expired():
                return _timed_out()
            # Any exception of a model is a response of status 500, as behind a real container.
            return _model_failure(500, f"{type(error).__name__}: {error}")
        if isinstance(result, ModelResponse):
            return result
        return ModelResponse(result, _content_type(invocation))

    async def _predict(self, request: ModelRequest) -> Result:
        result: Result | Awaitable[Result]
        if self._model in _QUICK or inspect.iscoroutinefunction(self._model):
            result = self._model(request)
        else:
            future = self._threads.submit(lambda: self._model(request))
            result = await asyncio.wrap_future(future)
        if inspect.isawaitable(result):
            result = await result
        if not isinstance(result, bytes | ModelResponse):
            raise TypeError(
                f"the model returned {type(result).__name__} instead of bytes or ModelResponse"
            )
        return result


def _log_lost_outcome(invocation: AcceptedInvocation, error: Exception) -> None:
    """Log an outcome that could not be written, most likely because the disk is full.

    With a state folder the invocation is tried again after a restart.
    """
    # No traceback and no text: they may hold a payload.
    _log.error("the emulator lost invocation %s: %s", invocation.inference_id, _kind(error))


def _kind(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def _content_type(invocation: AcceptedInvocation) -> str:
    accept = invocation.accept
    return accept if accept and "*" not in accept and "," not in accept else "application/json"


def _model_failure(status: int, message: str) -> Failure:
    side = "client" if status < 500 else "server"
    return Failure(_reason(f"{side} error ({status})"), message.encode())


def _timed_out() -> Failure:
    return Failure(
        _reason("server error (0)"),
        b"Your invocation timed out while waiting for a response from the model.",
    )


def _reason(error: str) -> str:
    return (
        f"ClientError: Received {error} from model. "
        "See the SageMaker Endpoint logs in your account for more information."
    )
