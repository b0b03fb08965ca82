"""A run that depends on its seed alone: no threads, no signals, no chance, no addresses."""

import asyncio
import itertools
import os
import random
import secrets
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from unittest import mock

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio._backends import _asyncio as backend

from dispatcher import failpoints
from dispatcher.emulator.sagemaker import invocation
from dispatcher.emulator.sns import topics
from dispatcher.emulator.sqs import long_poll as mailbox
from dispatcher.ledger import group_commit
from tests.simulation.machine import Machine

T = TypeVar("T")


class Signals:
    """In place of the system's: who asks the process to stop.

    Attributes:
        are_heard: The process listens; a signal before that kills it.
    """

    def __init__(self) -> None:
        self.are_heard = False
        self._send, self._receive = anyio.create_memory_object_stream[int](10)

    def send(self, signal: int) -> None:
        self._send.send_nowait(signal)

    def close(self) -> None:
        self._send.close()
        self._receive.close()

    @contextmanager
    def receiver(self, *_signals: int) -> Iterator[AsyncIterator[int]]:
        self.are_heard = True
        with self._receive.clone() as receiver:
            yield receiver


class _Ordered(dict[Any, None]):
    """A set whose order is that of adding, and not that of addresses."""

    def add(self, item: Any) -> None:
        self[item] = None

    def discard(self, item: Any) -> None:
        self.pop(item, None)

    def remove(self, item: Any) -> None:
        del self[item]


@contextmanager
def determined(
    machine: Machine, seed: int, *, disk: float, flush: float
) -> Iterator[Callable[[Signals], None]]:
    """Let the block depend on its seed alone; yields what sets the signals of the next process.

    Args:
        machine: Is informed of files, transactions and moments.
        seed: Decides all that is random.
        disk: Most seconds that something on a worker thread takes.
        flush: Seconds between the ledger's flushes.
    """
    rng = random.Random(f"{seed} secrets")
    threads = random.Random(f"{seed} threads")
    counter = itertools.count(1)
    current: list[Signals] = []

    def made_up() -> uuid.UUID:
        return uuid.UUID(int=next(counter))

    def receiver(*signals: int) -> Any:
        return current[-1].receiver(*signals)

    async def in_place(function: Callable[..., T], *args: Any, **_options: Any) -> T:
        await anyio.lowlevel.checkpoint()
        machine.check_alive()
        if not disk:
            return function(*args)
        with anyio.CancelScope(shield=True):  # as anyio waits for a thread
            await asyncio.sleep(disk * threads.random())
            machine.check_alive()
            result = function(*args)
            await asyncio.sleep(disk * threads.random())
            machine.check_alive()
        return result

    begin = backend.CancelScope.__init__

    def begin_in_order(self: Any, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        self._tasks = _Ordered()
        self._child_scopes = _Ordered()

    with ExitStack() as stack:
        for owner, name, value in (
            (anyio.to_thread, "run_sync", in_place),
            (anyio, "open_signal_receiver", receiver),
            (backend.CancelScope, "__init__", begin_in_order),
            (secrets, "choice", rng.choice),
            (secrets, "randbelow", rng.randrange),
            (mailbox, "uuid4", made_up),
            (topics, "uuid4", made_up),
            (invocation, "uuid4", made_up),
            (group_commit, "FLUSH_SECONDS", flush),
            (os, "pwrite", machine.pwrite),
            (os, "fsync", machine.fsync),
            (os, "ftruncate", machine.ftruncate),
            (sqlite3, "connect", machine.connect),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        failpoints.hooks.append(machine.reach)
        stack.callback(failpoints.hooks.remove, machine.reach)
        yield current.append
