"""Payloads that do not fit inline: put into S3 before the call, where the endpoint reads them."""

from typing import Protocol

from dispatcher import failpoints
from dispatcher.aws.calls import Location
from dispatcher.config.packing import StagingSettings
from dispatcher.ledger.intent import Entry
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.payloads import unreadable_payload


class Stager(Protocol):
    """Writes payloads that are too large for inline."""

    async def put(self, location: Location, body: bytes, content_type: str) -> None:
        """Write an object."""


class Staging:
    """Puts payloads where the endpoint can read them.

    Args:
        settings: The section ``staging``.
        ledger: Has the payloads.
        stager: Writes objects.
    """

    def __init__(self, settings: StagingSettings, ledger: Ledger, stager: Stager) -> None:
        self._settings = settings
        self._ledger = ledger
        self._stager = stager

    async def stage(self, entry: Entry) -> Location:
        """Return where the payload of an invocation lies in S3; it is there then.

        Raises:
            CallError, Denied: It could not be written.
            RunStopped: Its records cannot be read.
        """
        planned, bucket = entry.planned, self._settings.bucket
        assert bucket is not None, "the packer routes to S3 only with a bucket"
        payload = await self._ledger.payload(entry)
        if payload is None:
            raise unreadable_payload(planned)
        location = Location(bucket, f"{self._settings.prefix}{planned.shard}/{planned.id}")
        await self._stager.put(location, payload, planned.content_type)
        failpoints.reach("dispatch.staged")
        return location
