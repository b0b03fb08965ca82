"""The bytes of outstanding invocations.

The spool has the records; payloads stay in memory until first asked for, and are made anew later.
"""

import anyio.to_thread

from dispatcher.errors import StateError
from dispatcher.flow.content import LARGE_BYTES, FileSlice
from dispatcher.ledger.invocation import Entry, Planned, SpoolRef
from dispatcher.ledger.payloads.spool import Spool
from dispatcher.packing.codec import Codec, compression_of
from dispatcher.packing.spool_format import cut_records

_THREAD_BYTES = 256_000
"""Payloads from here on are read on a worker thread; below, the hop costs more than the read.

What is to be parsed or compressed besides is always made on one.
"""

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
        spool: Has the records of everything outstanding.
        codec: Makes payloads of records.
    """

    def __init__(self, spool: Spool, codec: Codec) -> None:
        self._spool = spool
        self._codec = codec
        self._fresh: dict[int, bytes] = {}
        self._fresh_bytes = 0

    def keep(self, planned: Planned, payload: bytes) -> None:
        """Keep the bytes of a new invocation in memory, if there is room."""
        if self._fresh_bytes + len(payload) <= _FRESH_BYTES:
            self._fresh[planned.number] = payload
            self._fresh_bytes += len(payload)

    def let_go(self, planned: Planned) -> bytes | None:
        """Keep an invocation's bytes in memory no longer; return them if they were."""
        payload = self._fresh.pop(planned.number, None)
        if payload is not None:
            self._fresh_bytes -= len(payload)
        return payload

    async def read(self, entry: Entry) -> bytes | None:
        """Return the payload of an invocation; None while its records are lost.

        Not for a large record, whose payload is made piece by piece where it is sent.

        Raises:
            NotEncodableError: The records cannot be encoded any more as they were.
        """
        if (payload := self.let_go(entry.planned)) is not None:
            return payload
        if (ref := entry.payload) is None:
            return None
        assert ref.size < LARGE_BYTES, "a large record is read by its stager"
        encoding = entry.planned.encoding
        is_quick = self._codec.splices(encoding) and compression_of(encoding) is None
        if is_quick and ref.size < _THREAD_BYTES:
            return self._made(entry, ref)
        return await anyio.to_thread.run_sync(self._made, entry, ref)

    def _made(self, entry: Entry, ref: SpoolRef) -> bytes | None:
        kept = self._spool.read(ref)
        if kept is None:
            return None
        raws = cut_records(kept, [record_ref.size for record_ref in entry.record_refs])
        return self._codec.payload(raws, entry.planned.encoding)

    async def kept(self, entry: Entry) -> bytes | FileSlice | None:
        """Return the records of an invocation as they are kept; None while they are lost.

        A blob, which the caller closes, where they are ``LARGE_BYTES`` or more.
        """
        if (ref := entry.payload) is None:
            return None
        if ref.size >= LARGE_BYTES:
            return self._spool.blob(ref)
        if ref.size < _THREAD_BYTES:
            return self._spool.read(ref)
        return await anyio.to_thread.run_sync(self._spool.read, ref)

    async def raws(self, entry: Entry) -> list[bytes | FileSlice | None]:
        """Return the raw bytes of each record of an invocation; None where they are lost."""
        kept = await self.kept(entry)
        if kept is None:
            return [None] * len(entry.record_refs)
        if isinstance(kept, FileSlice):
            return [kept]
        sizes = [record_ref.size for record_ref in entry.record_refs]
        if len(kept) < _THREAD_BYTES:
            return list(cut_records(kept, sizes))
        return list(await anyio.to_thread.run_sync(cut_records, kept, sizes))
