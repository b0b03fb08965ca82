"""Opening and closing of a run's ledger: its lock, its spool, its file."""

import errno
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread

from dispatcher.errors import StateError
from dispatcher.flow.fsync import make_folder, sync_folder
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.ledger.store.lock import lock
from dispatcher.ledger.store.sqlite import SqliteStore
from dispatcher.packing.codec import Codec


@asynccontextmanager
async def open_ledger(
    path: Path,
    *,
    codec: Codec,
    durability: Literal["full", "relaxed"] = "full",
    outstanding: int = 2000,
    spool_max: int = 10_000_000_000,
    deletes_staged: bool = True,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Ledger]:
    """Open a run's ledger for this process alone, and close it at the end of the block.

    Args:
        path: The SQLite file; made if it is not there. The spool is the folder ``<path>.spool``.
        codec: Encodes records into payloads.
        durability: ``full`` survives power loss, ``relaxed`` a killed process.
        outstanding: Limit of the invocations without an outcome.
        spool_max: Bytes of the spool from which on nothing is planned.
        deletes_staged: Objects in S3 are discarded when the last invocation that needs them ends.
        now: Epoch seconds.

    Raises:
        StateError: The file is locked by another process, damaged, of another version, or its
            folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            make_folder(path.parent)
            stack.enter_context(lock(path))
            spool = Spool(path.with_name(path.name + ".spool"))
            stack.callback(spool.close)
            store = await anyio.to_thread.run_sync(SqliteStore, path, spool, durability)
            stack.enter_context(store)
            await anyio.to_thread.run_sync(spool.begin)
            sync_folder(path.parent)
        except OSError as error:
            remedy = (
                "Make room there, and run the same command again; everything so far is kept"
                if error.errno in (errno.ENOSPC, errno.EDQUOT)
                else "Name a file in ledger.path whose folder can be written, and the spool in it"
            )
            where = error.filename or path
            raise StateError(
                f"cannot use the ledger {path}: {error.strerror} at {where}. {remedy}"
            ) from error
        ledger = Ledger(
            store,
            spool,
            outstanding=outstanding,
            spool_max=spool_max,
            codec=codec,
            now=now,
            deletes_staged=deletes_staged,
        )
        if ledger.is_new:
            await ledger.remember(created=repr(now()), tag=ledger.tag)
        try:
            yield ledger
        finally:
            with anyio.CancelScope(shield=True):
                await ledger.aclose()
