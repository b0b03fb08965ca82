"""What became of a call without an answer: a look at the output key that was chosen for it."""

from typing import Protocol

from dispatcher.aws.location import parse_location
from dispatcher.aws.requests import Location
from dispatcher.ledger.ids import failure_filename, filename
from dispatcher.ledger.invocation import Planned
from dispatcher.ledger.ledger import Ledger

_OUTPUT, _FAILURE = "output_base", "failure_base"


class ObjectProbe(Protocol):
    """Looks whether an object is there."""

    async def exists(self, location: Location) -> bool | None:
        """Return whether an object is there, or None if that cannot be seen."""


class AcceptanceProbe:
    """Knows where outputs of this endpoint go, once the service has said so.

    Output keys are chosen before sending (S3OutputPathExtension and Filename), below a base that
    only the endpoint's configuration holds; the first 202 tells it, and the ledger remembers it. So
    for failure objects, as long as the service names them as it does now. Where the service names
    outputs, there is nothing to look at.

    Args:
        ledger: Remembers the bases.
        looker: Looks.
        chosen: Whether output keys are chosen before sending.
    """

    def __init__(self, ledger: Ledger, looker: ObjectProbe, *, chosen: bool = True) -> None:
        self._ledger = ledger
        self._looker = looker
        self._chosen = chosen
        self._bases = {name: ledger.fact(name) for name in (_OUTPUT, _FAILURE)}

    async def learn(self, planned: Planned, output: str | None, failure: str | None) -> None:
        """Take the bases from locations that end as they were chosen: the newest ones are right."""
        if not self._chosen:
            return
        for name, location, ending in (
            (_OUTPUT, output, _output_of(planned)),
            (_FAILURE, failure, _failure_of(planned)),
        ):
            if location is not None and location.endswith(ending):
                base = location.removesuffix(ending)
                if base != self._bases[name]:
                    self._bases[name] = base
                    await self._ledger.remember(**{name: base})

    async def accepted(self, planned: Planned) -> bool:
        """Return whether an unanswered call was accepted, as far as can be seen, and note it.

        No object proves nothing: the inference may be under way. The call is then repeated under
        the same id and output key.

        Raises:
            CallError: Nobody can look now.
        """
        output = self._at(_OUTPUT, _output_of(planned))
        failure = self._at(_FAILURE, _failure_of(planned))
        if not (await self._is_there(output) or await self._is_there(failure)):
            return False
        entry = self._ledger.find(planned.number)
        if entry is not None:
            # Accepted when it was planned, as far as we know: the sweeper finds it overdue.
            self._ledger.accept(planned, entry.planned_at, output, failure)
        return True

    def _at(self, name: str, ending: str) -> str | None:
        base = self._bases[name]
        return None if base is None or not self._chosen else base + ending

    async def _is_there(self, at: str | None) -> bool:
        location = parse_location(at) if at is not None else None
        return location is not None and await self._looker.exists(location) is True


def _output_of(planned: Planned) -> str:
    return f"/{planned.shard}/{filename(planned.id)}"


def _failure_of(planned: Planned) -> str:
    return f"/{planned.shard}/{failure_filename(planned.id)}"
