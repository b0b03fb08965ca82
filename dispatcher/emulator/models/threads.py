"""Thread pool for models that ends with the process at once."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple[Future[Any], Callable[[], Any]]


class DaemonThreads(Executor):
    """Runs calls in up to ``max_threads`` threads, made as they are needed.

    ``concurrent.futures`` joins its threads when the interpreter exits, so that a model that takes
    an hour would hold up SIGTERM for an hour; these end with the process.

    Args:
        max_threads: Threads at once; further calls wait.
    """

    def __init__(self, max_threads: int) -> None:
        self._max_threads = max_threads
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = Lock()
        self._threads = 0
        self._unfinished = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call in a thread and return its future."""
        future: Future[T] = Future()
        with self._lock:
            self._unfinished += 1
            needed = self._threads < min(self._unfinished, self._max_threads)
            self._threads += needed
        self._jobs.put((future, lambda: fn(*args, **kwargs)))
        if needed:
            Thread(target=self._run, name="emulated-model", daemon=True).start()
        return future

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            _call(*job)
            del job  # an idle thread must not hold a payload
            with self._lock:
                self._unfinished -= 1

    # The signature is that of Executor; there is nothing to wait for or to cancel.
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Let idle threads end; a running thread ends after its call, and nothing waits for it."""
        for _ in range(self._threads):
            self._jobs.put(None)


def _call(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
