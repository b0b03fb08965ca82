"""All queues of the emulated account."""

import re
from dataclasses import dataclass, field

from dispatcher.emulator.clock import Clock
from dispatcher.emulator.mailbox import Mailbox

ACCOUNT = "000000000000"
"""The emulated account."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(slots=True)
class Queues:
    """Queues by name.

    Attributes:
        region: AWS region, for ARNs.
        clock: Time for all queues.
        by_name: The queues.
    """

    region: str
    clock: Clock
    by_name: dict[str, Mailbox] = field(default_factory=dict)

    def create(self, name: str) -> Mailbox:
        """Return the queue of this name, made where it does not exist.

        Raises:
            ValueError: The name is not one that SQS allows for a standard queue.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(name)
        mailbox = self.by_name.get(name)
        if mailbox is None:
            arn = f"arn:aws:sqs:{self.region}:{ACCOUNT}:{name}"
            mailbox = self.by_name[name] = Mailbox(name, arn, self.clock)
        return mailbox

    def of_arn(self, arn: str) -> Mailbox | None:
        """Return the queue of an ARN, or None."""
        found = self.by_name.get(arn.rpartition(":")[2])
        return found if found is not None and found.arn == arn else None
