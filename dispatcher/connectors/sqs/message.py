"""Messages of a queue as records, and the calls to the queue that deliver them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from dispatcher.config.connectors import SourceSettings
from dispatcher.errors import CallError
from dispatcher.reasons import Reason
from dispatcher.records.json_records import item_of
from dispatcher.records.record import Held, Position, Record, Unreadable


class ReceivedMessage(Protocol):
    """A message as one receive returned it."""

    @property
    def id(self) -> str:
        """Its MessageId."""
        ...

    @property
    def body(self) -> str:
        """Its text."""
        ...

    @property
    def receipt(self) -> str:
        """The handle that hides or deletes it until the next delivery."""
        ...


class SourceQueue(Protocol):
    """The calls to the queue.

    They raise ``CallError`` or ``Denied``; errors of single entries are returned by index, those
    that no repetition mends as ``Rejected``.
    """

    async def receive(self, *, wait: int | None = None) -> Sequence[ReceivedMessage]:
        """Wait up to ``wait`` seconds for messages; return at most ten."""
        ...

    async def delete(self, receipts: Sequence[str]) -> Mapping[int, CallError]:
        """Delete up to ten messages."""
        ...

    async def change_visibility(
        self, changes: Sequence[tuple[str, int]]
    ) -> Mapping[int, CallError]:
        """Hide up to ten messages, given by receipt, for some seconds from now."""
        ...

    async def attributes(self) -> Mapping[str, str] | None:
        """Return the queue's attributes; None without the permission to read them."""
        ...


def item_of_message(position: Position, body: str, settings: SourceSettings) -> Held:
    """Return the item of one message.

    Args:
        position: With the message's id.
        body: Its text, which should be one JSON value.
        settings: Name the key's field and limit the length of a record.
    """
    raw = body.encode("utf-8", "surrogatepass").strip()
    assert position.message is not None
    if len(raw) > settings.max_record:
        message = (
            f"{position.stream}, message {position.message} is {len(raw)} bytes long, "
            f"source.max_record is {settings.max_record}"
        )
        # Unlike a line of a file, it exists nowhere else once it is deleted.
        return Unreadable(position, position.message, raw, Reason.TOO_LARGE, message)
    item = item_of(position, raw, settings.key)
    if isinstance(item, Record):
        # Valid JSON has line breaks only between tokens, where a blank means the same.
        item.raw = item.raw.replace(b"\n", b" ")
    return item
