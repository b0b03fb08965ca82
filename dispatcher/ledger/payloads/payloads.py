"""Payloads of outstanding invocations, encoded again from the spooled records when needed.

A new payload stays in memory until it is first asked for; after that the spool has its records.
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

A payload that is parsed or compressed on the way is always encoded on one.
"""

_MAX_FRESH_BYTES = 8_000_000
"""Limit of the payload bytes in memory that nothing has asked for yet. They are asked for at once,
and a read of the spool would cost as much as a signature."""


def unreadable_payload(planned: Planned) -> StateError:
    """Return the error for spooled bytes that are damaged or gone while the run goes on."""
    return StateError(
        f"the payload of invocation {planned.id} cannot be read from the spool beside the ledger. "
        "Run the same command again: it is then read from the source"
    )


class Payloads:
    """The payloads of a ledger's invocations.

    Args:
        spool: Has the records of everything outstanding.
        codec: Encodes records into payloads.

    Attributes:
        fresh_bytes: Bytes of payloads in memory that nothing has asked for yet.
    """

    def __init__(self, spool: Spool, codec: Codec) -> None:
        self._spool = spool
        self._codec = codec
        self._fresh: dict[int, bytes] = {}
        self.fresh_bytes = 0

    def keep(self, planned: Planned, payload: bytes) -> None:
        """Keep the payload of a new invocation in memory, if there is room."""
        if self.fresh_bytes + len(payload) <= _MAX_FRESH_BYTES:
            self._fresh[planned.number] = payload
            self.fresh_bytes += len(payload)

    def release(self, planned: Planned) -> bytes | None:
        """Remove an invocation's payload from memory, and return it if it was there."""
        payload = self._fresh.pop(planned.number, None)
        if payload is not None:
            self.fresh_bytes -= len(payload)
        return payload

    async def read(self, entry: Entry) -> bytes | None:
        """Return the payload of an invocation; None while its records are lost.

        Not for a large record, whose payload is encoded piece by piece where it is sent.

        Raises:
            NotEncodableError: The records can no longer be encoded as they were.
        """
        if (payload := self.release(entry.planned)) is not None:
            return payload
        if (ref := entry.payload) is None:
            return None
        assert ref.size < LARGE_BYTES, "a large record is read by its stager"
        encoding = entry.planned.encoding
        is_quick = self._codec.splices(encoding) and compression_of(encoding) is None
        if is_quick and ref.size < _THREAD_BYTES:
            return self._encode(entry, ref)
        return await anyio.to_thread.run_sync(self._encode, entry, ref)

    def _encode(self, entry: Entry, ref: SpoolRef) -> bytes | None:
        spooled = self._spool.read(ref)
        if spooled is None:
            return None
        raws = cut_records(spooled, [record_ref.size for record_ref in entry.record_refs])
        return self._codec.payload(raws, entry.planned.encoding)

    async def spooled(self, entry: Entry) -> bytes | FileSlice | None:
        """Return the spooled bytes of an invocation's records; None while they are lost.

        A ``FileSlice``, which the caller closes, where they are ``LARGE_BYTES`` or more.
        """
        if (ref := entry.payload) is None:
            return None
        if ref.size >= LARGE_BYTES:
            return self._spool.open_slice(ref)
        if ref.size < _THREAD_BYTES:
            return self._spool.read(ref)
        return await anyio.to_thread.run_sync(self._spool.read, ref)

    async def raws(self, entry: Entry) -> list[bytes | FileSlice | None]:
        """Return the raw bytes of each record of an invocation; None where they are lost."""
        spooled = await self.spooled(entry)
        if spooled is None:
            return [None] * len(entry.record_refs)
        if isinstance(spooled, FileSlice):
            return [spooled]
        sizes = [record_ref.size for record_ref in entry.record_refs]
        if len(spooled) < _THREAD_BYTES:
            return list(cut_records(spooled, sizes))
        return list(await anyio.to_thread.run_sync(cut_records, spooled, sizes))
