"""The observations of one sweep. Pure; locations are text, as the ledger has them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dispatcher import limits
from dispatcher.aws.location import parse_location
from dispatcher.completion.event import Completion
from dispatcher.errors import CallError
from dispatcher.ledger.invocation import Entry


class FolderListing:
    """The first page of a folder.

    Args:
        keys: At most a thousand, the first in their order.
        prefix: The folder, with the slash at its end; all of them begin with it.
    """

    def __init__(self, keys: Iterable[str], prefix: str) -> None:
        self._names = {key.removeprefix(prefix) for key in keys}
        is_full = len(self._names) >= limits.S3_LIST_PAGE_KEYS
        self._last = max(self._names) if is_full else None

    def shows(self, name: str) -> bool | None:
        """Return whether an object is there; None if it would be on a later page."""
        if name in self._names:
            return True
        return None if self._last is not None and name > self._last else False


@dataclass(slots=True, kw_only=True)
class Observations:
    """The results of probes.

    Attributes:
        objects: Objects that were probed singly: True for one that exists.
        unseen: Objects that AWS refuses to show.
        pages: Folders that were listed, without the slash at their end.
        failed: Objects whose probe failed: ask again.
        responses: The error of each request, in order, or None where it had none.
    """

    objects: dict[str, bool] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)
    pages: dict[str, FolderListing] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    responses: list[CallError | None] = field(default_factory=list)

    def shows(self, location: str | None) -> bool | None:
        """Return whether an object is there; None if no probe shows it.

        An object without a location, or that cannot be seen, is not there.
        """
        if location is None or location in self.unseen:
            return False
        if location in self.objects:
            return self.objects[location]
        folder, _, name = location.rpartition("/")
        page = self.pages.get(folder)
        return None if page is None else page.shows(name)

    def completion(self, entry: Entry) -> Completion | None:
        """Return the completion of an invocation, if it is seen; an output wins over a failure."""
        output, failure = self.shows(entry.output), self.shows(entry.failure)
        if output and entry.output:
            return Completion("completed", entry.planned.id, parse_location(entry.output))
        if output is False and failure and entry.failure:
            return Completion("failed", entry.planned.id, parse_location(entry.failure))
        return None

    def has_failed(self, entry: Entry) -> bool:
        """Return whether a probe for an invocation has to be repeated."""
        return entry.output in self.failed or entry.failure in self.failed

    def has_no_trace(self, entry: Entry) -> bool:
        """Return whether an invocation has left no trace, as far as can be seen."""
        return self.shows(entry.output) is False and self.shows(entry.failure) is False
