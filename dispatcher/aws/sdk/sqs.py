"""SQS through aioboto3."""

from typing import Any

import anyio
from botocore import xform_name

from dispatcher.aws.error_mapping import UNREADABLE, lost, translate


class SdkSqs:
    """The sqs client; see ``dispatcher.aws.queue.SqsCalls``.

    Args:
        client: aioboto3's client.
        total: Most seconds of a call.
    """

    def __init__(self, client: Any, total: float) -> None:
        self._client = client
        self._total = total

    async def call(self, operation: str, doing: str, parameters: dict[str, object]) -> Any:
        """Call an operation and return its answer."""
        call = getattr(self._client, xform_name(operation))
        with translate(doing, repeatable=True), anyio.fail_after(self._total):
            try:
                return await call(**parameters)
            except UNREADABLE as error:  # botocore's parser takes JSON's shape for granted
                raise lost(error, doing, repeatable=True) from error
