"""SQS through aioboto3."""

from typing import Any

import anyio
from botocore import xform_name

from dispatcher.aws.error_mapping import MALFORMED_RESPONSE_ERRORS, no_response, translate


class SdkSqs:
    """The sqs client; see ``dispatcher.aws.queue.SqsCalls``.

    Args:
        client: aioboto3's client.
        total: Longest time of a call, in seconds.
    """

    def __init__(self, client: Any, total: float) -> None:
        self._client = client
        self._total = total

    async def call(self, operation: str, action: str, parameters: dict[str, object]) -> Any:
        """Call an operation and return its response."""
        call = getattr(self._client, xform_name(operation))
        with translate(action, repeatable=True), anyio.fail_after(self._total):
            try:
                return await call(**parameters)
            except MALFORMED_RESPONSE_ERRORS as error:
                # botocore's parser takes the shape of the JSON for granted.
                raise no_response(error, action, repeatable=True) from error
