"""What becomes of an invocation whose payload is made anew and does not fit inline any more.

One version makes payloads anew to the byte. Another one, or another version of a compressor, may
make them larger, or refuse one of several records, and an invocation may have waited for it for
hours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from dispatcher import limits
from dispatcher.aws.requests import Location
from dispatcher.config.settings import Config
from dispatcher.dispatch.staging.staging import Staging
from dispatcher.errors import Rejected
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.states import State
from dispatcher.observe.meter import Meter
from dispatcher.retry.outcomes import MAX_PARTS

NO_STAGING = "NoStaging"
"""Code of the error for a record that does not fit inline, where there is no bucket."""


@dataclass(slots=True)
class OversizeHandler:
    """Finds another way for what does not fit.

    Attributes:
        config: Says whether there is a bucket.
        ledger: Replaces invocations.
        staging: Puts single records into S3.
        meter: Counts what was split.
        postpone: Takes new invocations, which are to be sent.
    """

    config: Config
    ledger: Ledger
    staging: Staging
    meter: Meter
    postpone: Callable[[Planned], None]

    async def refit(self, entry: Entry) -> Location | None:
        """Stage a single record; take several apart, which are never more bytes each.

        Returns:
            Where the payload lies in S3; None if the invocation is over: replaced by its parts, or
            completed.

        Raises:
            CallError, Denied: It could not be staged; Rejected where there is no bucket.
            StateError: Its parts could not be stored.
        """
        records = len(entry.record_refs)
        if records > 1:
            if entry.state is State.PLANNED and self.ledger.claim(entry):
                await self._split(entry, min(records, MAX_PARTS))
            return None
        if self.config.staging.bucket is None:
            raise Rejected(
                f"its payload has more than {limits.INLINE_BODY_BYTES} bytes now that it was made "
                "anew, set staging.bucket to send such ones through S3",
                code=NO_STAGING,
            )
        return await self.staging.stage(entry)

    async def _split(self, entry: Entry, parts: int) -> None:
        self.meter.split += 1
        self.meter.parts += parts
        with anyio.CancelScope(shield=True):  # what is planned is to be waited for, or left
            for planned in await self.ledger.replace(entry, after=0.0, parts=parts):
                self.postpone(planned)
