"""What became of a call without an answer: a look at the output key that was chosen for it."""

from typing import Protocol

from dispatcher.aws.calls import Location
from dispatcher.aws.location import parse_location
from dispatcher.errors import CallError
from dispatcher.ledger.identity import filename
from dispatcher.ledger.intent import Planned
from dispatcher.ledger.ledger import Ledger

_BASE = "output_base"


class Looker(Protocol):
    """Looks whether an object is there."""

    async def exists(self, location: Location) -> bool | None:
        """Return whether an object is there, or None if that cannot be seen."""


class Evidence:
    """Knows where outputs of this endpoint go, once the service has said so.

    Output keys are chosen before sending (S3OutputPathExtension and Filename), below a base that
    only the endpoint's configuration holds; the first 202 tells it, and the ledger remembers it.
    Where the service names outputs, there is nothing to look at.

    Args:
        ledger: Remembers the base.
        looker: Looks.
        chosen: Whether output keys are chosen before sending.
    """

    def __init__(self, ledger: Ledger, looker: Looker, *, chosen: bool = True) -> None:
        self._ledger = ledger
        self._looker = looker
        self._chosen = chosen
        self._base = ledger.fact(_BASE)

    async def learn(self, planned: Planned, output_location: str | None) -> None:
        """Take the base from a location that ends as it was chosen."""
        ending = _ending(planned)
        if self._base is None and output_location is not None and output_location.endswith(ending):
            self._base = output_location.removesuffix(ending)
            await self._ledger.remember(**{_BASE: self._base})

    async def accepted(self, planned: Planned) -> bool:
        """Return whether an unanswered call was accepted, as far as can be seen, and note it.

        No output proves nothing: the inference may be under way. The call is then repeated under
        the same id and output key.
        """
        if self._base is None or not self._chosen:
            return False
        output = self._base + _ending(planned)
        location = parse_location(output)
        try:
            if location is None or not await self._looker.exists(location):
                return False
        except CallError:
            return False
        entry = self._ledger.find(planned.number)
        if entry is not None:
            # Accepted when it was planned, as far as we know: the sweeper finds it overdue.
            self._ledger.accept(planned, entry.planned_at, output, None)
        return True


def _ending(planned: Planned) -> str:
    return f"/{planned.shard}/{filename(planned.id)}"
