"""The laws of payloads in S3: there as long as they are needed, and gone at the end. Pure."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from tests.simulation.history import Final, Missed, Removed, Terms, Undeleted


@dataclass(slots=True)
class Inputs:
    """The fate of staged payloads.

    Attributes:
        called: Where the payload of each invocation lies that was called with a location.
        undeleted: Locations whose deletion by the present process failed.
    """

    called: dict[str, str] = field(default_factory=dict)
    undeleted: set[str] = field(default_factory=set)

    def take(
        self, fact: Missed | Removed | Undeleted, open_: Collection[str], terms: Terms
    ) -> Iterator[tuple[str, str]]:
        """Take in what happened to an object; yield the laws that it breaks, and how.

        Args:
            fact: What happened.
            open_: Invocations that are not over. A repeated call of one that is may find nothing.
            terms: What the run has promised.
        """
        match fact:
            case Missed(id_, by):
                if id_ in open_:
                    yield "the input is there", f"the {by} found no input of {id_}"
            case Undeleted(location):
                self.undeleted.add(location)
            case Removed(location):
                self.undeleted.discard(location)
                if not terms.deletes:
                    yield "deleted where it is wanted", f"{location} is deleted"
                if users := [id_ for id_ in open_ if self.called.get(id_) == location]:
                    yield "the input is there", f"{location} is deleted, {users} need it"

    def judge(self, final: Final, terms: Terms) -> Iterator[tuple[str, str]]:
        """Yield the laws that the end breaks: only what S3 did not delete may be left, and known.

        The next process of the run finds it in the ledger.
        """
        if not terms.deletes:
            return
        for location in final.staged:
            if location not in final.discarded:
                yield "staged payloads are deleted", f"{location} is left, and nothing remembers it"
        if not self.undeleted and (left := sorted({*final.staged, *final.discarded})):
            yield "staged payloads are deleted", f"{left} are left, and S3 has deleted all it got"
