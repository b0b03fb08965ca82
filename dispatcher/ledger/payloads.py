"""The bytes of outstanding invocations: in memory until first asked for, then in the spool."""

import anyio.to_thread

from dispatcher.errors import StateError
from dispatcher.ledger.intent import Entry, Planned
from dispatcher.ledger.spool import Spool
from dispatcher.packing.framing import Frame

_LARGE_BYTES = 256_000
"""Payloads from here on are read on a worker thread; below, the hop costs more than the read."""

_FRESH_BYTES = 8_000_000
"""Most bytes of payloads that stay in memory until they are first asked for. They are asked for at
once, and a read of the spool would cost as much as a signature."""


def unreadable_payload(planned: Planned) -> StateError:
    """Return the error for bytes that are damaged or gone while the run goes on."""
    return StateError(
        f"the payload of invocation {planned.id} cannot be read from the spool beside the ledger. "
        "Run the same command again: it is then read from the source"
    )


class Payloads:
    """What of an invocation is not in its row.

    Args:
        spool: Has the bytes of everything outstanding.
        frame: How payloads are framed, to cut records out of them.
    """

    def __init__(self, spool: Spool, frame: Frame) -> None:
        self._spool = spool
        self._frame = frame
        self._fresh: dict[int, bytes] = {}
        self._fresh_bytes = 0

    def keep(self, planned: Planned, payload: bytes) -> None:
        """Keep the bytes of a new invocation in memory, if there is room."""
        if self._fresh_bytes + planned.size <= _FRESH_BYTES:
            self._fresh[planned.number] = payload
            self._fresh_bytes += planned.size

    def let_go(self, planned: Planned) -> bytes | None:
        """Keep an invocation's bytes in memory no longer; return them if they were."""
        payload = self._fresh.pop(planned.number, None)
        if payload is not None:
            self._fresh_bytes -= planned.size
        return payload

    async def read(self, entry: Entry) -> bytes | None:
        """Return the bytes of an invocation; None while they are lost and not yet read again."""
        if (payload := self.let_go(entry.planned)) is not None:
            return payload
        if (ref := entry.payload) is None:
            return None
        if ref.size < _LARGE_BYTES:
            return self._spool.read(ref)
        return await anyio.to_thread.run_sync(self._spool.read, ref)

    async def raws(self, entry: Entry) -> list[bytes | None]:
        """Return the raw bytes of each record of an invocation; None where they are lost."""
        payload = await self.read(entry)
        if payload is None:
            return [None] * len(entry.slips)
        return list(self._frame.cut(payload, [slip.size for slip in entry.slips]))
