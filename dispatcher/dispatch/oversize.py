"""Oversized payloads: they fitted inline when they were planned, and do not any more.

One version encodes payloads again to the byte. Another one, or another version of a compressor, may
make them larger, or refuse one of several records, and an invocation may have waited for hours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from dispatcher import limits
from dispatcher.aws.requests import Location
from dispatcher.dispatch.staging.stager import Stager
from dispatcher.errors import Rejected
from dispatcher.ledger.invocation import Entry, Planned
from dispatcher.ledger.ledger import Ledger
from dispatcher.ledger.states import State
from dispatcher.observe.events import InvocationSplit, Observer
from dispatcher.retry.invocations import MAX_PARTS, SplitBudget

NO_STAGING = "NoStaging"
"""Code of the error for a record that does not fit inline, where there is no bucket."""


@dataclass(slots=True, kw_only=True)
class OversizeHandler:
    """Finds another way for a payload that does not fit.

    Attributes:
        has_bucket: ``staging.bucket`` is set.
        ledger: Replaces invocations.
        staging: Puts single records into S3.
        split_budget: Counts the invocations that are made of parts.
        observe: Gets the events.
        resend: Takes new invocations to send.
    """

    has_bucket: bool
    ledger: Ledger
    staging: Stager
    split_budget: SplitBudget
    observe: Observer
    resend: Callable[[Planned], None]

    async def handle(self, entry: Entry) -> Location | None:
        """Stage a single record; split several, which are never more bytes each.

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
        if not self.has_bucket:
            raise Rejected(
                f"its payload, encoded again, has more than {limits.INLINE_BODY_BYTES} bytes; set "
                "staging.bucket to send such payloads through S3",
                code=NO_STAGING,
            )
        return await self.staging.stage(entry)

    async def _split(self, entry: Entry, parts: int) -> None:
        self.split_budget.made += parts
        self.observe(InvocationSplit(parts))
        with anyio.CancelScope(shield=True):  # the run has to wait for what is planned
            for planned in await self.ledger.replace(entry, after=0.0, parts=parts):
                self.resend(planned)
