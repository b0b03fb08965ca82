"""The output reader: takes the output of an invocation from its event or from S3."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import anyio

from dispatcher.aws.location import parse_location
from dispatcher.aws.objects import IncomingObject
from dispatcher.aws.requests import Location
from dispatcher.completion.event import Completion
from dispatcher.completion.outcomes import OutputObject
from dispatcher.errors import CallError, Denied, NotThere, Rejected
from dispatcher.flow.budget import Reservation
from dispatcher.ledger.invocation import Entry
from dispatcher.reasons import Reason
from dispatcher.retry.outage_timer import OutageTimer

_MAX_ATTEMPTS = 5
"""Attempts to read an object before it is left to a later event or sweep."""

_PAUSE_SECONDS = 0.2


class ObjectReader(Protocol):
    """Opens output and failure objects; see ``dispatcher.aws.objects.Objects``."""

    def open(self, location: Location) -> AbstractAsyncContextManager[IncomingObject]:
        """Begin to read an object."""


@dataclass(slots=True, kw_only=True)
class OutputReader:
    """Reads outputs into reserved memory.

    Attributes:
        objects: S3.
        max_output: Largest output in bytes.
        outage: Ends the run when S3 does not respond.
    """

    objects: ObjectReader
    max_output: int
    outage: OutageTimer

    async def read(
        self, entry: Entry, completion: Completion, reservation: Reservation, *, input_bytes: int
    ) -> OutputObject:
        """Return the output of an invocation, or the reason why there is none.

        Args:
            entry: The invocation.
            completion: The service's word on it.
            reservation: Takes the memory for the output and for ``input_bytes`` more.
            input_bytes: Bytes of input that the outcomes will carry.

        Raises:
            CallError: S3 does not respond now.
            Denied: The output may not be read.
        """
        if completion.kind == "expired" or completion.body is not None:
            await reservation.acquire(input_bytes + len(completion.body or b""))
            name = None if completion.location is None else str(completion.location)
            return OutputObject(completion.body, completion.content_type, location=name)
        known = entry.output if completion.kind == "completed" else entry.failure
        location = completion.location or (parse_location(known) if known else None)
        if location is None:
            if completion.kind == "failed":
                return OutputObject(None, None)
            message = "the event names no output object"
            return OutputObject(None, None, reason=Reason.OUTPUT_MISSING, message=message)
        try:
            return await self._get(location, reservation, input_bytes)
        except (NotThere, Denied) as error:
            if completion.kind == "failed":
                return OutputObject(None, None)  # the event's own reason has to do
            if isinstance(error, Denied):
                raise
            return OutputObject(
                None, None, reason=Reason.OUTPUT_MISSING, message=f"{error}: {location}"
            )
        except Rejected as error:
            return OutputObject(None, None, reason=Reason.OUTPUT_UNREADABLE, message=str(error))

    async def _get(
        self, location: Location, reservation: Reservation, input_bytes: int
    ) -> OutputObject:
        for attempts_left in reversed(range(_MAX_ATTEMPTS)):
            try:
                async with self.objects.open(location) as incoming:
                    if incoming.size > self.max_output:
                        message = (
                            f"{location} has {incoming.size:,} bytes, more than "
                            f"completion.max_output ({self.max_output:,})"
                        )
                        return OutputObject(
                            None, None, reason=Reason.OUTPUT_TOO_LARGE, message=message
                        )
                    await reservation.acquire(incoming.size + input_bytes)
                    body, content_type = await incoming.read(), incoming.content_type
                    self.outage.succeeded()
                    return OutputObject(body, content_type, location=str(location))
            except Rejected:
                raise
            except CallError:
                reservation.release()  # or this attempt and the next would wait for each other
                if not attempts_left:
                    raise
            await anyio.sleep(_PAUSE_SECONDS * (_MAX_ATTEMPTS - attempts_left))
        raise AssertionError
