"""Uploads to S3: writes an object at once or in parts, within the memory budget."""

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

from dispatcher import limits
from dispatcher.aws.objects import MultipartUpload
from dispatcher.aws.requests import Location, PutOptions
from dispatcher.config.retry import RetrySettings
from dispatcher.errors import DispatcherError, Rejected, Throttled, Transient
from dispatcher.flow.budget import MemoryBudget, Reservation
from dispatcher.retry.backoff import backoff

PART_BYTES = 16_000_000
"""Bytes of a part, and of the largest object that is written at once. S3 takes parts from 5 MiB on,
and 10,000 of them: far more than what an endpoint reads."""

MAX_PARTS_ON_WIRE = 2
"""Parts of one object that are under way while the next one is read."""

_MAX_PART_ATTEMPTS = 4
"""Tries of a part before the whole upload fails: one of sixty parts must not cost all."""

_ABORT_SECONDS = 10.0

_FLOOR = 0.1
"""Repeated parts are spread as widely as can be, but never sent at once."""

_Result = TypeVar("_Result")


class Writer(Protocol):
    """Writes objects."""

    async def put(
        self, location: Location, body: bytes, content_type: str, options: PutOptions
    ) -> None:
        """Write an object."""

    async def upload(
        self, location: Location, content_type: str, options: PutOptions
    ) -> MultipartUpload:
        """Begin to write an object in parts."""


class Uploader:
    """Writes objects whose bytes come piece by piece.

    Args:
        writer: S3.
        retry: Base and cap of the backoff before a part is tried again.
        rng: Jitters the backoff.
    """

    def __init__(self, *, writer: Writer, retry: RetrySettings, rng: random.Random) -> None:
        self._writer = writer
        self._retry = retry
        self._rng = rng

    async def write(
        self,
        location: Location,
        pieces: Iterable[bytes],
        memory: MemoryBudget,
        *,
        content_type: str,
        options: PutOptions,
    ) -> None:
        """Write an object; when it returns all of it is there, and S3 has checked it.

        Args:
            location: Where.
            pieces: Its bytes; read on a worker thread.
            memory: Each part reserves its bytes from before it is read until it is written.
            content_type: Its MIME type.
            options: Encryption and tags.

        Raises:
            CallError, Denied: It could not be written; no part of it is left, if that can be.
        """
        parts = _parts(pieces)
        reservation = Reservation(memory)
        try:
            await reservation.acquire(PART_BYTES)
            first = await _next(parts)
            if len(first) < PART_BYTES:
                await self._writer.put(location, first, content_type, options)
                return
            upload = await self._repeated(
                lambda: self._writer.upload(location, content_type, options)
            )
            try:
                await self._in_parts(upload, first, parts, reservation, memory)
                await upload.complete()
            except BaseException:
                with anyio.CancelScope(shield=True), anyio.move_on_after(_ABORT_SECONDS):
                    await _abort(upload)
                raise
        finally:
            reservation.release()

    async def _in_parts(
        self,
        upload: MultipartUpload,
        part: bytes,
        rest: Iterator[bytes],
        reservation: Reservation,
        memory: MemoryBudget,
    ) -> None:
        """Write all parts; release the reservation of the first, and take one for each other."""
        sending = _Sending(self, upload)
        try:
            await self._send_all(sending, part, rest, reservation, memory)
        finally:
            # A task that is cancelled before it began has not given back its own.
            for unreleased in sending.reservations:
                unreleased.release()
        if sending.failure is not None:
            raise sending.failure

    async def _send_all(
        self,
        sending: "_Sending",
        part: bytes,
        rest: Iterator[bytes],
        reservation: Reservation,
        memory: MemoryBudget,
    ) -> None:
        size = number = 0
        async with anyio.create_task_group() as group:
            try:
                while part:
                    size, number = size + len(part), number + 1
                    if size > limits.STAGED_BODY_BYTES:
                        limit = f"{limits.STAGED_BODY_BYTES:,}"
                        raise Rejected(f"the payload has more than {limit} bytes", code="TooLarge")
                    await sending.slots.acquire_on_behalf_of(number)
                    group.start_soon(sending.send, number, part, reservation, group.cancel_scope)
                    reservation = Reservation(memory)
                    sending.reservations.append(reservation)
                    await reservation.acquire(PART_BYTES)
                    part = await _next(rest)
            except Exception as error:
                # One error, not a group of them, goes up.
                sending.failed(error, group.cancel_scope)

    async def repeated_part(self, upload: MultipartUpload, number: int, body: bytes) -> None:
        """Write a part, and repeat it after a failure."""
        await self._repeated(lambda: upload.part(number, body))

    async def _repeated(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        for failures in range(1, _MAX_PART_ATTEMPTS):
            try:
                return await call()
            except (Throttled, Transient):
                # Two doublings a failure: an upload of minutes has time, and few tries.
                await anyio.sleep(
                    backoff(
                        2 * failures - 1,
                        base=self._retry.base,
                        cap=self._retry.cap,
                        jitter=self._rng.random(),
                        floor=_FLOOR,
                    )
                )
        return await call()


class _Sending:
    """The parts of an upload that are under way, and the first failure."""

    def __init__(self, uploader: Uploader, upload: MultipartUpload) -> None:
        self._uploader = uploader
        self._upload = upload
        self.slots = anyio.CapacityLimiter(MAX_PARTS_ON_WIRE)
        self.reservations: list[Reservation] = []
        self.failure: Exception | None = None

    def failed(self, error: Exception, scope: anyio.CancelScope) -> None:
        self.failure = self.failure or error
        scope.cancel()

    async def send(
        self, number: int, body: bytes, reservation: Reservation, scope: anyio.CancelScope
    ) -> None:
        try:
            await self._uploader.repeated_part(self._upload, number, body)
        except Exception as error:
            self.failed(error, scope)
        finally:
            reservation.release()
            self.slots.release_on_behalf_of(number)


async def _next(parts: Iterator[bytes]) -> bytes:
    """Return the next part, read on a worker thread; nothing at the end."""
    return await anyio.to_thread.run_sync(next, parts, b"")


async def _abort(upload: MultipartUpload) -> None:
    """Leave no parts behind; if that fails, the bucket's lifecycle rule removes them."""
    try:
        await upload.abort()
    except DispatcherError:
        return


def _parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut bytes that come in pieces of any size into parts of one size."""
    held: list[memoryview] = []
    size = 0
    for piece in pieces:
        left = memoryview(piece)
        while size + len(left) >= PART_BYTES:
            wanted = PART_BYTES - size
            yield b"".join((*held, left[:wanted]))
            left, size = left[wanted:], 0
            held.clear()
        if left:
            held.append(left)
            size += len(left)
    if held:
        yield b"".join(held)
