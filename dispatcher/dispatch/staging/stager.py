"""The stager: payloads that do not fit inline are put into S3, each content once."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import anyio.to_thread

from dispatcher import failpoints
from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import Location, PutOptions, tagging_of
from dispatcher.config.packing import StagingSettings
from dispatcher.config.retry import RetrySettings
from dispatcher.dispatch.staging.cleanup import Remover, StagedObjectCleanup
from dispatcher.dispatch.staging.recent_writes import RecentWrites
from dispatcher.dispatch.staging.upload import PART_BYTES, Uploader, Writer
from dispatcher.environment import Environment
from dispatcher.errors import CallError, Denied, NotThere, Rejected, ServiceFailed, Transient
from dispatcher.flow.budget import MemoryBudget
from dispatcher.flow.content import LARGE_BYTES, ChangedError, FileSlice
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.payloads.payloads import unreadable_payload
from dispatcher.observe.events import Observer, PayloadStaged
from dispatcher.packing.codec import Codec
from dispatcher.packing.large_payload import (
    digest_of_content,
    digest_of_payload,
    exact_size,
    is_streamed,
    pieces,
)
from dispatcher.packing.values import NotEncodableError

NOT_ENCODABLE = "NotEncodable"
"""Code of the error for a record that its encoding cannot carry."""


class StagingCalls(Writer, Remover, Protocol):
    """S3, where payloads are staged."""

    async def size(self, location: Location) -> int | None:
        """Return the bytes of an object, None if it cannot be seen; raises ``NotThere``."""

    async def abort_uploads(self, location: Location) -> None:
        """Delete the parts of uploads of an object that were not completed."""


@dataclass(slots=True, kw_only=True)
class Stager:
    """Puts payloads where the endpoint can read them, each content once.

    Attributes:
        settings: The section ``staging``.
        retry: The section ``retry``.
        select: ``packing.select``: part of what an object's content depends on.
        ledger: Has the records, and knows what is staged.
        codec: Makes payloads of large records.
        objects: S3.
        memory: Bounds what is held of payloads.
        observe: Gets the events.
        environment: Clocks and jitter.
        cleanup: Deletes staged objects that are not needed any more, if ``staging.delete`` says so.
    """

    settings: StagingSettings
    retry: RetrySettings
    select: str | None
    ledger: Ledger
    codec: Codec
    objects: StagingCalls
    memory: MemoryBudget
    observe: Observer
    environment: Environment
    cleanup: StagedObjectCleanup = field(init=False)
    _cache: RecentWrites = field(init=False)
    _options: PutOptions = field(init=False)
    _uploader: Uploader = field(init=False)

    def __post_init__(self) -> None:
        """Prepare what all uploads share."""
        self._cache = RecentWrites(self.environment.monotonic)
        self.cleanup = StagedObjectCleanup(
            staged=self.ledger.staged,
            remover=self.objects,
            cache=self._cache,
            observe=self.observe,
            is_enabled=self.settings.delete == "on_settled",
        )
        self._options = options_of(self.settings)
        self._uploader = Uploader(writer=self.objects, retry=self.retry, rng=self.environment.rng)

    async def stage(self, entry: Entry) -> Location | None:
        """Make sure that the payload of an invocation lies in S3, and return its location.

        What an earlier process or attempt staged is looked for, and written again only if it is
        gone. Returns None where the invocation is over meanwhile.

        Raises:
            CallError, Denied: It could not be written; Rejected where no repetition can help.
            RunStopped: Its records cannot be read.
        """
        try:
            return await self._stage(entry)
        except ServiceFailed as error:
            # S3 is down for all: no record is to blame, however long it lasts.
            raise Transient(str(error), code=error.code) from error

    async def _stage(self, entry: Entry) -> Location | None:
        if (location := await self._existing(entry)) is not None:
            self.observe(PayloadStaged("found"))
        elif entry.planned.size >= LARGE_BYTES:
            location = await self._stage_large(entry)
        else:
            location = await self._stage_whole(entry)
        failpoints.reach("dispatch.staged")
        return location

    async def _existing(self, entry: Entry) -> Location | None:
        """Return the location of the payload where it is staged already."""
        known = entry.staged
        location = None if known is None else parse_location(known)
        if known is None or location is None:
            return None
        async with self._cache.lock(known):
            if not await self._exists(location, self._expected(entry)):
                self._cache.forget(known)
                return None
        return location

    async def _exists(self, location: Location, expected: int | None) -> bool:
        try:
            size = await self.objects.size(location)
        except NotThere:
            return False
        if size is None:  # it cannot be seen: writing it again is always right
            return False
        return size == expected if expected is not None else size > 0

    def _expected(self, entry: Entry) -> int | None:
        sizes = [record_ref.size for record_ref in entry.record_refs]
        return exact_size(sum(sizes), len(sizes), self.codec, entry.planned.encoding)

    async def _stage_whole(self, entry: Entry) -> Location | None:
        """Stage a payload that is small enough to be held."""
        planned = entry.planned
        async with self.memory.reserve(planned.size):
            with _reading(planned):
                payload = await self.ledger.payload(entry)
            if payload is None:
                if self._is_over(entry):
                    return None
                raise unreadable_payload(planned)
            digest = await anyio.to_thread.run_sync(
                digest_of_payload, payload, planned.encoding, planned.content_type
            )

            async def put(location: Location) -> None:
                await self.objects.put(location, payload, planned.content_type, self._options)

            return await self._stage_as(digest, entry, put)

    async def _stage_large(self, entry: Entry) -> Location | None:
        """Stage a payload of which only parts are held, where its encoding allows that."""
        planned = entry.planned
        content = await self.ledger.kept(entry)
        if content is None:
            if self._is_over(entry):
                return None
            raise unreadable_payload(planned)
        assert isinstance(content, FileSlice), "a large record is kept as one"
        staged_before = entry.staged
        source = pieces(content, self.codec, planned.encoding)

        async def put(location: Location) -> None:
            if staged_before == str(location):
                # Parts of an upload that a dead process began; a rule of the bucket has to remove
                # what we may not list.
                with suppress(CallError, Denied):
                    await self.objects.abort_uploads(location)
            write = partial(
                self._uploader.write,
                location,
                content_type=planned.content_type,
                options=self._options,
            )
            with _reading(planned):
                if is_streamed(self.codec, planned.encoding):
                    await write(source, self.memory)
                    return
                async with self.memory.reserve(planned.size):
                    whole = await anyio.to_thread.run_sync(b"".join, source)
                    await write((whole,), MemoryBudget(len(whole) + PART_BYTES))

        try:
            with _reading(planned):
                digest = await anyio.to_thread.run_sync(self._digest, content, planned)
            return await self._stage_as(digest, entry, put)
        finally:
            content.close()

    def _digest(self, content: FileSlice, planned: Planned) -> str:
        return digest_of_content(
            content,
            planned.encoding,
            planned.content_type,
            frame=self.codec.frame,
            select=self.select or "",
        )

    def _is_over(self, entry: Entry) -> bool:
        """Return whether an invocation is over, so that its records may be gone."""
        return self.ledger.find(entry.planned.number) is not entry

    async def _stage_as(
        self, digest: str, entry: Entry, put: Callable[[Location], Awaitable[None]]
    ) -> Location | None:
        """Write an object of this content, unless it exists; its location is durable before that.

        Two characters of the digest come first, so that S3 spreads the load: it takes 3,500 puts a
        second for a prefix. With the run's tag no run deletes what another one needs.
        """
        bucket = self.settings.bucket
        assert bucket is not None, "the packer routes to S3 only with a bucket"
        key = f"{self.settings.prefix}{digest[:2]}/{self.ledger.tag}/{digest}"
        location = Location(bucket, key)
        name = str(location)
        async with self._cache.lock(name):
            if not await self.ledger.staged.stage(entry, name):
                return None
            if self._cache.is_known(name):
                self.observe(PayloadStaged("shared"))
                return location
            failpoints.reach("dispatch.staging")
            await put(location)
            self._cache.wrote(name)
        self.observe(PayloadStaged("uploaded"))
        return location


@contextmanager
def _reading(planned: Planned) -> Iterator[None]:
    """Translate errors of reading and encoding the records in the block.

    Raises:
        Rejected: The encoding cannot carry them.
        StateError: They are not what was kept.
    """
    try:
        yield
    except NotEncodableError as error:
        raise not_encodable(planned, error) from None
    except ChangedError as error:
        raise unreadable_payload(planned) from error


def not_encodable(planned: Planned, error: NotEncodableError) -> Rejected:
    """Return the error for a record that its encoding cannot carry."""
    return Rejected(f"{planned.encoding} cannot carry it: {error}", code=NOT_ENCODABLE)


def options_of(settings: StagingSettings) -> PutOptions:
    """Return the options under which S3 keeps staged objects."""
    return PutOptions(settings.encryption, settings.kms_key, tagging_of(settings.tags))
