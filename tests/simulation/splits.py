"""The laws of splitting failed invocations, on the ledger's transactions. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.simulation.history import Terms

MAX_PARTS = 3
"""As the documentation says; not taken from the code that is checked."""

Records = tuple[int, ...]


@dataclass(slots=True)
class Splits:
    """The invocations that were split, and their parts.

    Attributes:
        made: How many invocations were made of parts.
        last: The records of the last invocation of each record.
    """

    made: int = 0
    last: dict[int, Records] = field(default_factory=dict)
    _roots: dict[str, str] = field(default_factory=dict)

    def take(
        self,
        closed: Mapping[str, Records],
        planned: Sequence[tuple[str, Records]],
        failed: set[str],
    ) -> Iterator[tuple[str, str]]:
        """Take in a transaction; yield the laws that it breaks, and how.

        Args:
            closed: The records of the invocations that are gone.
            planned: The new ones.
            failed: Invocations that came to a failure, or to an answer that cannot be split.
        """
        parents = {record: id_ for id_, records in closed.items() for record in records}
        parts: dict[str, list[Records]] = {}
        for id_, records in planned:
            self.last.update(dict.fromkeys(records, records))
            parent = parents.get(records[0])
            if parent is None:
                self._roots[id_] = id_
                continue
            self._roots[id_] = self._roots.get(parent, parent)
            if records != closed[parent]:
                parts.setdefault(parent, []).append(records)
        for parent, made in parts.items():
            self.made += len(made)
            whole = tuple(record for records in made for record in records)
            if whole != closed[parent] or not 1 < len(made) <= MAX_PARTS:
                yield "parts make the whole", f"{parent} with {closed[parent]} became {made}"
            if parent not in failed:
                yield "split for a failure", f"{parent} is split and did not fail"

    def outstanding(self, open_: Mapping[str, Records]) -> int:
        """Return how many invocations there would be if none had been split."""
        return len({self._roots.get(id_, id_) for id_ in open_})

    def judge(self, terms: Terms, counted: int) -> Iterator[tuple[str, str]]:
        """Yield the laws that the whole run breaks; ``counted`` are the parts that it reports."""
        allowed = int(terms.bisection * len(terms.records)) + terms.floor if terms.bisection else 0
        if self.made > allowed:
            yield "split within the budget", f"{self.made} invocations of parts, {allowed}"
        if self.made != counted:
            yield "parts counted", f"{counted} are counted, {self.made} were made"

    def has_company(self, record: int, terms: Terms) -> bool:
        """Return whether a record was last invoked with others, though it could have been alone."""
        is_allowed = terms.bisection > 0 and self.made + MAX_PARTS <= terms.floor
        return is_allowed and len(self.last.get(record, ())) > 1
