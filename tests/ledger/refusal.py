"""The message of a ledger that cannot be opened."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from dispatcher.errors import StateError
from dispatcher.ledger.ledger import Ledger


async def refused(run: Callable[..., AbstractAsyncContextManager[Ledger]]) -> str:
    """Open a ledger that cannot be opened, and return the message to the user."""
    with pytest.raises(StateError) as caught:
        async with run():
            pytest.fail("the ledger was opened")
    message = str(caught.value)
    assert "\n" not in message
    return message
