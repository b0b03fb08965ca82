"""The acceptance probe: looks for the output of a call without a response, at its chosen key."""

from typing import Protocol

from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import Location
from dispatcher.ledger.ids import failure_filename, filename
from dispatcher.ledger.invocation import Planned
from dispatcher.ledger.ledger import Ledger

_OUTPUT, _FAILURE = "output_base", "failure_base"


class ObjectProbe(Protocol):
    """Asks S3 for single objects."""

    async def exists(self, location: Location) -> bool | None:
        """Return whether an object is there, or None if that cannot be seen."""


class AcceptanceProbe:
    """Looks for the outputs of calls, below the base that the service has named.

    Output keys are chosen before sending (S3OutputPathExtension and Filename), below a base that
    only the endpoint's configuration holds; the first 202 shows it, and the ledger remembers it.
    The same goes for failure objects, as long as the service names them as it does now. Where the
    service names outputs, there is nothing to look for.

    Args:
        ledger: Remembers the bases.
        objects: S3.
        is_chosen: Output keys are chosen before sending.
    """

    def __init__(self, *, ledger: Ledger, objects: ObjectProbe, is_chosen: bool) -> None:
        self._ledger = ledger
        self._objects = objects
        self._is_chosen = is_chosen
        self._bases = {name: ledger.fact(name) for name in (_OUTPUT, _FAILURE)}

    async def learn(self, planned: Planned, output: str | None, failure: str | None) -> None:
        """Take the bases from locations that end as they were chosen; the newest are right."""
        if not self._is_chosen:
            return
        for name, location, suffix in (
            (_OUTPUT, output, _output_of(planned)),
            (_FAILURE, failure, _failure_of(planned)),
        ):
            if location is not None and location.endswith(suffix):
                base = location.removesuffix(suffix)
                if base != self._bases[name]:
                    self._bases[name] = base
                    await self._ledger.remember(**{name: base})

    async def was_accepted(self, planned: Planned) -> bool:
        """Return whether a call without a response was accepted, as far as can be seen; note it.

        No object proves nothing: the inference may be under way. The call is then repeated under
        the same id and output key.

        Raises:
            CallError: S3 cannot be asked now.
        """
        output = self._location(_OUTPUT, _output_of(planned))
        failure = self._location(_FAILURE, _failure_of(planned))
        if not (await self._exists(output) or await self._exists(failure)):
            return False
        entry = self._ledger.find(planned.number)
        if entry is not None:
            # It counts as accepted when it was planned, so that the sweep finds it overdue.
            self._ledger.accept(planned, entry.planned_at, output, failure)
        return True

    def _location(self, name: str, suffix: str) -> str | None:
        base = self._bases[name]
        return None if base is None or not self._is_chosen else base + suffix

    async def _exists(self, name: str | None) -> bool:
        location = parse_location(name) if name is not None else None
        return location is not None and await self._objects.exists(location) is True


def _output_of(planned: Planned) -> str:
    return f"/{planned.shard}/{filename(planned.id)}"


def _failure_of(planned: Planned) -> str:
    return f"/{planned.shard}/{failure_filename(planned.id)}"
